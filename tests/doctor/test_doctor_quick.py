"""What `treason status` tells of what the doctor finds."""

from doctors import do, findings
from harness import Place


def test_status_warns_and_the_doctor_tells_what_mends_it(place: Place, host: None) -> None:
    """In text and in JSON, as long as it is so; it is no failure."""
    place.configure(main="sources = []")
    place.treason("ban", "192.0.2.7")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("status", "-o", "json").json["warnings"] == []
    place.database.chmod(0o666)
    told = f"{place.database}: others than its owner may write to it; what mends it: treason doctor"
    result = place.treason("status")
    assert result.code == 0, result.err
    assert f"advice          {told}\n" in result.out
    assert place.treason("status", "-o", "json").json["warnings"] == [told]
    [found] = findings(place, "database")
    do(found.remedy)
    assert place.treason("status", "-o", "json").json["warnings"] == []
