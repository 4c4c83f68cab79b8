"""What the request bodies and answers of all routes for operating share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

MOST_IDS = 1000
LARGEST_ROW_ID = 2**63 - 1
MOST_SHOWN = 10**9
EXAMPLE_ID = "01931f6ac2d97b6aa1f2b3c4d5e6f708"
EXAMPLE_BATCH = "01931f6ac2d97b6aa1f2b3c4d5e6f700"


class OperatingBody(BaseModel):
    """A request body. It refuses unknown fields, and no error quotes what it holds."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class OperatingOut(BaseModel):
    """An answer, which is read from the attributes of what is found."""

    model_config = ConfigDict(from_attributes=True)
