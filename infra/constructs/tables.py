"""The tables of jobs and charges."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.constructs.acknowledge import acknowledge
from infra.stages import StageValues


class Tables(Construct):
    """Both tables. Their names are generated, so that a stack can be made again beside tables that outlived it.

    Indexes are sparse: only the items that an index is for carry its attributes.
    """

    def __init__(self, scope: Construct, name: str, *, values: StageValues, key: kms.IKey) -> None:
        super().__init__(scope, name)
        self._values, self._key = values, key
        self.jobs = self._table("Jobs", ttl="ttl")
        self._index(self.jobs, "open", "open", "sk_time")
        self._index(self.jobs, "by_time", "month", "job_id")
        self.charges = self._table("Charges")
        self._index(self.charges, "by_model", "of_model", "day")
        self._index(self.charges, "by_recipe", "of_recipe", "day")

    def _table(self, name: str, *, ttl: str | None = None) -> dynamodb.Table:
        values = self._values
        table = dynamodb.Table(
            self,
            name,
            partition_key=_text("pk"),
            sort_key=_text("sk"),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self._key,
            time_to_live_attribute=ttl,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=values.protect_data
            ),
            deletion_protection=values.protect_data,
            removal_policy=RemovalPolicy.RETAIN if values.keep_data else RemovalPolicy.DESTROY,
        )
        if not values.protect_data:
            acknowledge(
                table, {"AwsSolutions-DDB3": "The stage value protect_data pays for it, where data may not be lost."}
            )
        return table

    @staticmethod
    def _index(table: dynamodb.Table, name: str, partition: str, sort: str) -> None:
        table.add_global_secondary_index(index_name=name, partition_key=_text(partition), sort_key=_text(sort))


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
