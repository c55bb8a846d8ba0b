"""The schema that events must keep to, as OCSF publishes it."""

from __future__ import annotations

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from fedguard.events.ocsf import OCSF_VERSION

__all__ = ["detection_findings"]


def detection_findings() -> Draft202012Validator:
    """Of the class that every event is one of."""
    ocsf = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF_VERSION))
    name = ocsf.lookup_class_name_from_uid(class_uid=2004)
    return Draft202012Validator(ocsf.get_class_schema(name, profiles=["security_control"]))
