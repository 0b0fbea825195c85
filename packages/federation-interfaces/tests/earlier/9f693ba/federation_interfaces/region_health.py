"""Interface `region_health`: where to ask for the regions' verdict, in the unit databag.

The verdict itself is asked over HTTPS, since it changes within seconds and a relation's data
travels with hooks.
"""

from federation_interfaces.databag import Databag
from federation_interfaces.fields import Certificate, HttpsOrigin


class RegionHealthUnitData(Databag):
    """Provider: the address of this unit's agent and the certificate to pin."""

    url: HttpsOrigin | None = None
    certificate: Certificate | None = None
