"""Hooks of the fst plugin that a conftest or another plugin may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fst.enum_work import LabParts
    from fst.site import SbcTable, Site, SiteFile


@pytest.hookspec(firstresult=True)
def pytest_fst_lab_parts(file: SiteFile, site: Site, sbc: SbcTable) -> LabParts | None:
    """Return servers or a recorder of your own for *sbc* in a lab; None for the usual ones."""
