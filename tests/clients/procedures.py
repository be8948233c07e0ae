"""Makes procedures with the fhir.resources package, which checks them against FHIR R4B and knows nothing of
ours: reads a list of wishes from stdin and prints a list of resources, each as the package writes it.

Given a list of answers as {"outcome": …}, it reads each as an OperationOutcome instead, and so ends where
one is none.
"""

import json
import sys
from datetime import datetime

from fhir.resources.R4B.annotation import Annotation
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.coding import Coding
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.period import Period
from fhir.resources.R4B.procedure import Procedure, ProcedurePerformer
from fhir.resources.R4B.reference import Reference


def concept(codings):
    return CodeableConcept(coding=[Coding(system=system, code=code) for system, code in codings])


def procedure(wish):
    made = Procedure(
        id="4711-on-its-server",
        status=wish.get("status", "completed"),
        identifier=[Identifier(use="official", system=wish["system"], value=wish["value"])],
        code=concept(wish["code"]),
        subject=Reference(
            reference="Patient/77", identifier=Identifier(system="https://practice.example", value=wish["patient"])
        ),
        bodySite=[concept([site]) for site in wish.get("sites", [])] or None,
        performer=[ProcedurePerformer(actor=Reference(display="Dr. Example"))],
        note=[Annotation(text="left alone")],
    )
    if "start" in wish:
        start, end = (datetime.fromisoformat(wish[name]) for name in ("start", "at"))
        made.performedPeriod = Period(start=start, end=end)
    else:
        made.performedDateTime = datetime.fromisoformat(wish["at"])
    return json.loads(made.model_dump_json())


def main():
    made = []
    for wish in json.load(sys.stdin):
        if "outcome" in wish:
            made.append(json.loads(OperationOutcome.model_validate(wish["outcome"]).model_dump_json()))
        else:
            made.append(procedure(wish))
    json.dump(made, sys.stdout)


main()
