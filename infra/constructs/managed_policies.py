"""The policies that a customer attaches to people and services: inbox writer, recipe operator, result reader, operator.

The first three come once for all recipes, and once more for each recipe of the stage value ``recipe_policies``. Each of
these stands in the template under the recipe's name: who may do what is reviewed with the deployment, a person may hold
several of them, and nothing depends on who may put tags on whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.acknowledge import acknowledge_wildcards
from infra.constructs.permissions import Permissions, use_key
from infra.constructs.queues import Queues, WorkQueue, camel_recipe
from infra.constructs.tables import Tables
from infra.stages import StageValues
from promptmill.domain.layout import ANSWERS, BODIES, INBOX, RECIPES, RESULTS, WORK, recipe_key

EVERY = "*"
"""Stands for every recipe in the keys of objects."""
_TITLES = {"InboxWriter": "inbox-writer", "RecipeOperator": "recipe-operator", "ResultReader": "result-reader"}
_PAUSES = "SWITCH"
"""The partition key of pauses in the jobs table: see ``promptmill.aws.dynamodb.switches``."""
_WILDCARDS = {
    r"Resource::(<Storage.*\.Arn>|arn:.*:s3:::[^/]+)/.*": "Keys hold names of files and ids of jobs, below the prefix of a recipe.",
    r"Resource::<Tables.*\.Arn>/index/\*": "Lists of jobs and of costs read all indexes of these two tables.",
    r"Resource::arn:.*:cloudformation:.*:stack/.*/\*": "A stack's ARN ends in an identifier that nobody chooses.",
    r"Resource::\*": "These actions of doctor know no resources.",
    r"Resource::arn:.*:(lambda|iam):.*": "The functions and roles of this stack, whose names begin with its own.",
    r"Resource::arn:.*:secret:.*\*": "doctor looks at the keys that recipes name, below the stage's prefix.",
    r"Resource::arn:.*:(bedrock|aws-external-anthropic):.*": "doctor calls the models that functions may call.",
}


@dataclass(frozen=True, kw_only=True)
class Places:
    """What the policies are about."""

    key: kms.IKey
    bucket: s3.IBucket
    tables: Tables
    queues: Queues
    functions: Permissions


class ManagedPolicies(Construct):
    """The managed policies of a stack.

    Attributes:
        general: the four policies of the whole deployment, by title: ``InboxWriter``.
        of_recipes: those of single recipes, by recipe and title.
    """

    def __init__(self, scope: Construct, name: str, *, values: StageValues, places: Places) -> None:
        super().__init__(scope, name)
        self._values, self._places = values, places
        self.general = self._of_recipe(EVERY) | {"Operator": self._policy("Operator", "operator", self._operator())}
        self.of_recipes = {recipe: self._of_recipe(recipe) for recipe in values.recipe_policies}

    def _of_recipe(self, recipe: str) -> dict[str, iam.ManagedPolicy]:
        statements = {
            "InboxWriter": self._inbox_writer(recipe),
            "RecipeOperator": self._recipe_operator(recipe),
            "ResultReader": self._result_reader(recipe),
        }
        prefix, identifier = ("", "") if recipe == EVERY else (f"{recipe}-", f"Of-{recipe}-")
        return {
            title: self._policy(f"{identifier}{title}", f"{prefix}{_TITLES[title]}", found)
            for title, found in statements.items()
        }

    def _policy(self, identifier: str, name: str, statements: Iterable[iam.PolicyStatement]) -> iam.ManagedPolicy:
        """Make a policy of a known name: permission sets of IAM Identity Center find policies by their names.

        The name holds the region, since policies belong to all regions of an account.
        """
        stack, written = Stack.of(self), list(statements)
        policy = iam.ManagedPolicy(
            self,
            identifier,
            managed_policy_name=f"{self._values.stack_name}-{stack.region}-{name}",
            description=f"Promptmill {self._values.stack_name}: {name.replace('-', ' ')}",
            statements=written,
        )
        acknowledge_wildcards(policy, written, _WILDCARDS)
        return policy

    def _inbox_writer(self, recipe: str) -> Iterator[iam.PolicyStatement]:
        """Allow drops, their tags, bodies of requests, and the recipe's own requests queue if it has one.

        All requests queues are for who may use every recipe: whoever sends to the common one may spend the budgets of
        all recipes that have no queue of their own.
        """
        drops = [f"{INBOX}{recipe}/*"] if recipe != EVERY else [f"{INBOX}*"]
        tags = ("s3:PutObjectTagging", "s3:PutObjectVersionTagging")
        # A drop is looked at once it is there: a job's id is made of its version and time.
        yield self._objects(
            drops, "s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectVersion", *tags
        )
        yield self._objects([f"{BODIES}{recipe}/*"], "s3:PutObject")
        yield self._objects([recipe_key(recipe)], "s3:GetObject")
        yield self._list(f"{INBOX}{recipe}/*" if recipe != EVERY else f"{INBOX}*")
        yield self._find_the_stack()
        queues = [queue.work.queue_arn for queue in self._requests_queues(recipe)]
        if queues:
            yield iam.PolicyStatement(actions=["sqs:SendMessage", "sqs:GetQueueUrl"], resources=queues)
        yield self._use_key("s3", *(["sqs"] if queues else []))

    def _requests_queues(self, recipe: str) -> Iterable[WorkQueue]:
        queues = self._places.queues
        if recipe == EVERY:
            return queues.of_kind("requests")
        return filter(None, [queues.of_recipe(recipe)])

    def _recipe_operator(self, recipe: str) -> Iterator[iam.PolicyStatement]:
        """Allow pushing recipes and, to who may push every recipe, the limits and pauses.

        Pauses of all recipes lie under one key of the jobs table, where IAM tells nobody's apart.
        """
        yield self._objects([recipe_key(recipe)], "s3:GetObject", "s3:PutObject")
        yield self._find_the_stack()
        if recipe == EVERY:
            yield self._list(f"{RECIPES}*")
            yield iam.PolicyStatement(
                actions=["dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"],
                resources=[self._places.tables.jobs.table_arn],
                conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [_PAUSES]}},
            )
        yield self._use_key("s3", *(["dynamodb"] if recipe == EVERY else []))

    def _result_reader(self, recipe: str) -> Iterator[iam.PolicyStatement]:
        """Allow what is written for people: results, errors, status and answers."""
        prefixes = [f"{place}*" if recipe == EVERY else f"{place}{recipe}/*" for place in (RESULTS, ANSWERS)]
        yield self._objects(prefixes, "s3:GetObject")
        yield self._list(*prefixes)
        yield self._use_key("s3", actions=("kms:Decrypt",))

    def _operator(self) -> Iterator[iam.PolicyStatement]:
        """Allow every command of the CLI.

        ``doctor`` reads the keys of providers and makes a call with each. That gives an operator no more than he has:
        a recipe that he pushes decides where its key is sent.
        """
        places, tables = self._places, self._places.tables
        yield self._find_the_stack()
        yield iam.PolicyStatement(actions=["s3:ListBucket"], resources=[places.bucket.bucket_arn])
        yield self._objects([f"{place}*" for place in (INBOX, RECIPES, RESULTS, WORK)], "s3:GetObject")
        yield self._objects([f"{INBOX}*"], "s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObjectVersion")
        yield self._objects([f"{RECIPES}*"], "s3:PutObject")
        written = [f"dynamodb:{action}" for action in ("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem")]
        yield iam.PolicyStatement(actions=written, resources=[tables.jobs.table_arn])
        read = [f"{tables.jobs.table_arn}/index/*", tables.charges.table_arn, f"{tables.charges.table_arn}/index/*"]
        yield iam.PolicyStatement(actions=["dynamodb:Query"], resources=read)
        sends = [places.queues.work[queue].queue_arn for queue in ("uploads", "chunks")]
        yield iam.PolicyStatement(actions=["sqs:SendMessage"], resources=sends)
        yield from places.functions.models()
        yield from self._doctor()
        yield self._use_key("s3", "dynamodb", "sqs", "secretsmanager")

    def _doctor(self) -> Iterator[iam.PolicyStatement]:
        """Allow looking at quotas, sources, models and rights; what is asked for on "*" knows no resources."""
        stack, name = Stack.of(self), self._values.stack_name
        general = (
            "lambda:GetAccountSettings",
            "lambda:ListEventSourceMappings",
            "bedrock:GetFoundationModelAvailability",
            "servicequotas:ListServiceQuotas",
            "servicequotas:ListAWSDefaultServiceQuotas",
        )
        yield iam.PolicyStatement(actions=list(general), resources=["*"])
        own = {
            "lambda:GetFunctionConfiguration": f"arn:{stack.partition}:lambda:{stack.region}:{stack.account}:function:{name}-*",
            "iam:SimulatePrincipalPolicy": f"arn:{stack.partition}:iam::{stack.account}:role/{name}-*",
            "secretsmanager:DescribeSecret": self._places.functions.secrets_arn,
        }
        yield from (iam.PolicyStatement(actions=[action], resources=[arn]) for action, arn in own.items())

    def _objects(self, keys: Iterable[str], *actions: str) -> iam.PolicyStatement:
        bucket = self._places.bucket
        return iam.PolicyStatement(actions=list(actions), resources=[bucket.arn_for_objects(key) for key in keys])

    def _list(self, *prefixes: str) -> iam.PolicyStatement:
        """Allow lists of keys below prefixes. Without a prefix, S3 also says "access denied" for what is not there."""
        return iam.PolicyStatement(
            actions=["s3:ListBucket"],
            resources=[self._places.bucket.bucket_arn],
            conditions={"StringLike": {"s3:prefix": list(prefixes)}},
        )

    def _find_the_stack(self) -> iam.PolicyStatement:
        """Allow reading the stack's outputs, by which the CLI finds the deployment."""
        stack = Stack.of(self)
        arn = stack.format_arn(service="cloudformation", resource="stack", resource_name=f"{self._values.stack_name}/*")
        return iam.PolicyStatement(actions=["cloudformation:DescribeStacks"], resources=[arn])

    def _use_key(self, *services: str, actions: Iterable[str] | None = None) -> iam.PolicyStatement:
        return use_key(self._places.key, through=services, **({"actions": actions} if actions else {}))


def policy_outputs(policies: ManagedPolicies) -> Mapping[str, str]:
    """Return the ARNs of the policies by the names of the stack's outputs: ``ReviewsResultReaderPolicy``."""
    found = {f"{title}Policy": policy for title, policy in policies.general.items()}
    for recipe, own in policies.of_recipes.items():
        found |= {f"{camel_recipe(recipe)}{title}Policy": policy for title, policy in own.items()}
    return {name: policy.managed_policy_arn for name, policy in found.items()}
