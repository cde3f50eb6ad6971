"""Read a stack's outputs, and deploy a synthesised stack without the CDK's command."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from promptmill.domain.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ParameterTypeDef
    from mypy_boto3_s3.client import S3Client


_EPOCH = (1980, 1, 1, 0, 0, 0)


class CloudFormationStacks:
    """The stacks of one account and region."""

    def __init__(self, client: CloudFormationClient) -> None:
        self._client = client

    def outputs(self, name: str) -> dict[str, str] | None:
        """Return the stack's outputs, or None if there is no such stack."""
        try:
            found = self._client.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            problem = error.response.get("Error", {})
            if problem.get("Code") == "ValidationError" and "does not exist" in problem.get("Message", ""):
                return None
            raise
        return {output["OutputKey"]: output["OutputValue"] for output in found[0].get("Outputs", [])}

    def deploy(self, name: str, template_url: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Create the stack and wait.

        Raises:
            UserError: it failed; the reason names the resources and what they said (code ``deployment_failed``).
        """
        given: list[ParameterTypeDef] = [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()]
        self._client.create_stack(
            StackName=name, TemplateURL=template_url, Parameters=given, Capabilities=["CAPABILITY_NAMED_IAM"]
        )
        try:
            self._client.get_waiter("stack_create_complete").wait(
                StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
            )
        except WaiterError as error:
            raise self._failure(name) from error
        return self.outputs(name) or {}

    def _failure(self, name: str) -> UserError:
        events = self._client.describe_stack_events(StackName=name)["StackEvents"]
        failed = [
            f"{event.get('LogicalResourceId', '?')} ({event.get('ResourceType', '?')}): "
            f"{event.get('ResourceStatusReason', 'no reason given')}"
            for event in reversed(events)
            if event.get("ResourceStatus", "").endswith("FAILED")
        ]
        return UserError(f"the stack {name} failed: {'; '.join(failed) or 'no reason given'}", code="deployment_failed")


def publish_assets(assembly: Path, stack: str, *, s3: S3Client, account: str, region: str) -> str:
    """Upload what ``<stack>.assets.json`` names to where it says, making the buckets. Returns the template's URL.

    Raises:
        UserError: the assembly is not there or not readable.
    """
    manifest = assembly / f"{stack}.assets.json"
    try:
        files: dict[str, Any] = json.loads(manifest.read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"no synthesised stack in {assembly}", code="not_synthesised", remedy="run make synth STAGE=local"
        ) from error
    template_url = ""
    for bucket, key, source in _destinations(files, account, region):
        _make_bucket(s3, bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=_content(assembly, source))
        if source["path"] == f"{stack}.template.json":
            template_url = f"{s3.meta.endpoint_url}/{bucket}/{key}"
    return template_url


def _destinations(files: Mapping[str, Any], account: str, region: str) -> list[tuple[str, str, dict[str, str]]]:
    filled = {"${AWS::AccountId}": account, "${AWS::Region}": region, "${AWS::Partition}": "aws"}
    places = []
    for asset in files.values():
        for destination in asset["destinations"].values():
            bucket, key = destination["bucketName"], destination["objectKey"]
            for mark, value in filled.items():
                bucket, key = bucket.replace(mark, value), key.replace(mark, value)
            places.append((bucket, key, asset["source"]))
    return places


def _make_bucket(s3: S3Client, bucket: str) -> None:
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        s3.create_bucket(Bucket=bucket)


def _content(assembly: Path, source: Mapping[str, str]) -> bytes:
    path = assembly / source["path"]
    return _zipped(path) if source["packaging"] == "zip" and path.is_dir() else path.read_bytes()


def _zipped(folder: Path) -> bytes:
    """Zip the folder without compression, since it only goes over loopback."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = (path.stat().st_mode & 0xFFFF) << 16
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()
