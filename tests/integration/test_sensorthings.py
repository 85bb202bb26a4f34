"""SensorThings on a real database: by a client library's own calls over HTTP, and by what the standard says of each option."""

import threading
from collections.abc import Iterator
from typing import Any

import frost_sta_client as fsc
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from frost_sta_client.service.auth_handler import AuthHandler
from redis import Redis
from requests.auth import AuthBase
from sqlalchemy import Engine, text
from werkzeug.serving import make_server

from tests.support.history_rows import add_device, add_readings
from tests.support.pages import add_bearer, make_app, sign_in

ROOT = "/sensorthings/v1.1"
ROWS = 300


class Bearer(AuthBase):
    """The library knows names and passwords only; everything else of its calls is its own."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers.update(self._headers)
        return prepared


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    mill = add_device(
        engine, "mill", display_name="Mill", river="Red", latitude=21.0, longitude=105.8, datum="MSL", time_zone="UTC"
    )
    add_readings(engine, mill, ROWS)
    add_readings(engine, add_device(engine, "weir", model="dragino_lds04"), 30)
    add_device(engine, "new")
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def token(engine: Engine, app: Flask) -> dict[str, str]:
    return add_bearer(engine, "read")


@pytest.fixture
def service(app: Flask, token: dict[str, str]) -> Iterator[fsc.SensorThingsService]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler = AuthHandler("", "")
    handler.add_auth_header = lambda: Bearer(token)
    yield fsc.SensorThingsService(f"http://127.0.0.1:{server.port}{ROOT}", auth_handler=handler)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "guest")


def get(client: FlaskClient, path: str, status: int = 200, **options: str) -> Any:
    answer = client.get(f"{ROOT}/{path}", query_string={f"${name}": value for name, value in options.items()})
    assert answer.status_code == status, answer.text
    return answer.json


def names(found: Any) -> list[str]:
    return [one["name"] for one in found["value"]]


def test_a_client_library_walks_from_things_to_observations(service: fsc.SensorThingsService) -> None:
    things = service.things().query().filter("name eq 'mill'").list()
    assert [thing.name for thing in things] == ["mill"]
    thing = service.things().find(things.get(0).id)
    assert thing.properties["river"] == "Red"
    assert [round(one, 1) for one in thing.get_locations().query().list().get(0).location["coordinates"]] == [
        105.8,
        21.0,
    ]
    streams = thing.get_datastreams().query().filter("ObservedProperty/name eq 'Water level'").list()
    stream = streams.get(0)
    assert stream.unit_of_measurement.symbol == "m"
    newest = stream.get_observations().query().orderby("phenomenonTime", "DESC").top(3).list()
    assert newest.entities[0].result == pytest.approx(1.299)
    found = service.observations().find(newest.entities[0].id)
    assert found.result == pytest.approx(1.299)
    assert found.result_quality["flag"] == 1


def test_a_client_library_reads_page_after_page_to_the_end(service: fsc.SensorThingsService) -> None:
    stream = (
        service.datastreams().query().filter("Thing/name eq 'mill' and unitOfMeasurement/symbol eq 'm'").list().get(0)
    )
    listed = stream.get_observations().query().count().top(70).list()
    assert listed.count == ROWS
    results = [one.result for one in listed]
    assert results == [round(1 + n / 1000, 3) for n in range(ROWS)]


def test_a_client_library_reads_every_other_set(service: fsc.SensorThingsService) -> None:
    assert [one.name for one in service.sensors().query().list()] == ["mill sensor", "weir sensor", "new sensor"]
    assert len(list(service.observed_properties().query().list())) == 5
    assert [one.name for one in service.locations().query().list()] == ["mill"]
    assert len(list(service.historical_locations().query().list())) == 1
    assert [one.name for one in service.features_of_interest().query().top(2).list()] == ["mill", "weir", "new"]
    expanded = service.things().query().expand("Datastreams($expand=ObservedProperty)").filter("name eq 'weir'").list()
    assert [one.observed_property.name for one in expanded.get(0).datastreams] == ["Water level", "Temperature"]
    with pytest.raises(requests.HTTPError):
        service.things().find(99)


def test_the_root_says_what_is_offered(client: FlaskClient) -> None:
    for path in ("", "/"):
        root = client.get(ROOT + path).json
        assert [one["name"] for one in root["value"]] == [
            "Things",
            "Locations",
            "HistoricalLocations",
            "Datastreams",
            "Sensors",
            "ObservedProperties",
            "Observations",
            "FeaturesOfInterest",
        ]
        assert (
            "http://www.opengis.net/spec/iot_sensing/1.1/req/data-array/data-array"
            in root["serverSettings"]["conformance"]
        )


def test_every_link_of_every_entity_leads_somewhere(client: FlaskClient) -> None:
    waiting, seen = [one["url"] for one in client.get(ROOT).json["value"]], set()
    while waiting:
        address = waiting.pop()
        shape = "".join(sign for sign in address if not sign.isdigit())
        if shape in seen:
            continue
        seen.add(shape)
        answer = client.get(address, query_string={"$top": "2"})
        assert answer.status_code == 200, (address, answer.text)
        for entity in answer.json.get("value", [answer.json]):
            waiting += [link for name, link in entity.items() if name.endswith(("Link", "selfLink"))]
    assert len(seen) > 25


def test_only_who_may_read_reads(app: Flask, engine: Engine, token: dict[str, str]) -> None:
    stranger = app.test_client()
    assert stranger.get(f"{ROOT}/Things").status_code == 401
    assert stranger.get(f"{ROOT}/Things", headers=token).status_code == 200
    assert stranger.get(f"{ROOT}/Things", headers=add_bearer(engine, "ingest")).status_code == 403
    assert stranger.post(f"{ROOT}/Things", headers=token, json={}).status_code in {400, 405}


FILTERS = (
    ("Things", "name eq 'mill' or name eq 'weir'", 2),
    ("Things", "startswith(name,'mi') and not endswith(name,'x')", 1),
    ("Things", "substringof('eir',name)", 1),
    ("Things", "tolower(properties/river) eq 'red'", 1),
    ("Things", "properties/river eq null", 2),
    ("Things", "@iot.id in (1,3)", 2),
    ("Things", "Datastreams/ObservedProperty/name eq 'Temperature'", 2),
    ("Things", "length(concat(name,'abc')) eq 7", 2),
    ("Things", "name eq 'it''s @iot.id'", 0),
    ("Locations", "st_within(location, geography'POLYGON((105 20, 107 20, 107 22, 105 22, 105 20))')", 1),
    ("Locations", "geo.distance(location, geography'POINT(105.8 21.1)') lt 0.2", 1),
    ("Locations", "st_disjoint(location, geography'POLYGON((0 0, 1 0, 1 1, 0 0))')", 1),
    ("ObservedProperties", "Datastreams/Thing/name eq 'mill'", 2),
    ("Datastreams", "Thing/properties/datum eq 'MSL'", 2),
    ("Datastreams(9)/Observations", "result gt 1.2 and result le 1.25", 50),
    (
        "Datastreams(9)/Observations",
        "phenomenonTime ge 2026-09-30T00:00:00Z and phenomenonTime lt 2026-09-30T01:00:00Z",
        4,
    ),
    (
        "Datastreams(9)/Observations",
        "hour(phenomenonTime) eq 0 and minute(phenomenonTime) eq 0 and day(phenomenonTime) eq 30",
        1,
    ),
    ("Datastreams(9)/Observations", "resultQuality/flag eq 3", 30),
    ("Datastreams(9)/Observations", "round(result mul 10) mod 2 eq 1", 150),
    ("Observations", "Datastream/id eq 17 and result lt 1.01", 10),
    ("Observations", "Datastream/Thing/name eq 'weir' and Datastream/ObservedProperty/id eq 3", 15),
    ("Observations", "FeatureOfInterest/id eq 2 and parameters/seq gt 19", 15),
    ("Observations", "phenomenonTime gt now() sub duration'P1D' and Datastream/id eq 9", 0),
)


def test_filters_find_what_they_say(client: FlaskClient) -> None:
    for path, wanted, count in FILTERS:
        found = get(client, path, filter=wanted, count="true", top="500")
        assert (found["@iot.count"], len(found["value"])) == (count, count), (path, wanted)


def test_order_skip_select_and_the_next_page(client: FlaskClient) -> None:
    assert names(get(client, "Things", orderby="name desc")) == ["weir", "new", "mill"]
    first = get(client, "Things", orderby="name", top="2", select="name")
    assert first["value"] == [{"name": "mill"}, {"name": "new"}]
    assert client.get(first["@iot.nextLink"]).json == {"value": [{"name": "weir"}]}
    assert names(get(client, "Things", skip="2")) == ["new"]
    assert get(client, "Things", top="0")["value"] == []
    strongest = get(
        client, "Datastreams(9)/Observations", orderby="result desc,phenomenonTime", top="2", select="result"
    )
    assert strongest["value"] == [{"result": 1.299}, {"result": 1.298}]


def test_all_pages_of_all_stations_are_everything_once(client: FlaskClient) -> None:
    for order in ("", "phenomenonTime desc", "result desc"):
        ids = all_ids(client, order)
        assert len(ids) == len(set(ids)) == ROWS + ROWS // 2 + 30 + 15, order


@pytest.mark.parametrize("order", ["phenomenonTime\tdesc", "phenomenonTime  DESC", " resultTime\n desc "])
def test_pages_go_on_downwards_however_the_order_is_spaced(client: FlaskClient, order: str) -> None:
    assert all_ids(client, order) == all_ids(client, "phenomenonTime desc")


def all_ids(client: FlaskClient, order: str) -> list[str]:
    options = {"$top": "67", "$select": "id", "$filter": "result gt 0"} | ({"$orderby": order} if order else {})
    answer = client.get(f"{ROOT}/Observations", query_string=options).json
    ids = [one["@iot.id"] for one in answer["value"]]
    while "@iot.nextLink" in answer:
        answer = client.get(answer["@iot.nextLink"]).json
        ids += [one["@iot.id"] for one in answer["value"]]
    return ids


def test_what_is_expanded_has_options_of_its_own(client: FlaskClient) -> None:
    expand = (
        "Datastreams($select=name;$expand=Observations($top=2;$orderby=phenomenonTime desc;$select=result)),Locations"
    )
    found = get(client, "Things(1)", expand=expand)
    assert [one["name"] for one in found["Datastreams"]] == ["mill Water level", "mill Temperature"]
    assert found["Datastreams"][0]["Observations"] == [{"result": 1.299}, {"result": 1.298}]
    more = client.get(found["Datastreams"][0]["Observations@iot.nextLink"]).json
    assert more["value"] == [{"result": 1.297}, {"result": 1.296}]
    assert found["Locations"][0]["location"]["type"] == "Point"
    slashed = get(client, "Observations", expand="Datastream/Thing,Datastream/ObservedProperty", top="1")["value"][0]
    assert slashed["Datastream"]["Thing"]["name"] == "mill"
    assert slashed["Datastream"]["ObservedProperty"]["@iot.id"] == 1


def test_observations_come_as_arrays(client: FlaskClient) -> None:
    found = get(
        client, "Datastreams(9)/Observations", resultFormat="dataArray", top="3", select="phenomenonTime,result"
    )
    assert found["value"] == [
        {
            "Datastream@iot.navigationLink": f"http://localhost{ROOT}/Datastreams(9)",
            "components": ["phenomenonTime", "result"],
            "dataArray@iot.count": 3,
            "dataArray": [
                ["2026-09-29T00:00:00.000Z", 1.0],
                ["2026-09-29T00:15:00.000Z", 1.001],
                ["2026-09-29T00:30:00.000Z", 1.002],
            ],
        }
    ]
    assert "dataArray" in found["@iot.nextLink"]
    every = get(client, "Observations", resultFormat="DataArray", top="10000")["value"]
    assert sum(one["dataArray@iot.count"] for one in every) == 495


def test_properties_values_and_links(client: FlaskClient) -> None:
    assert get(client, "Things(1)/name") == {"name": "mill"}
    assert client.get(f"{ROOT}/Things(1)/name/$value").text == "mill"
    assert get(client, "Datastreams(9)/Thing/properties")["properties"]["river"] == "Red"
    assert get(client, "Things(1)/Datastreams/$ref") == {
        "value": [{"@iot.selfLink": f"http://localhost{ROOT}/Datastreams({number})"} for number in (9, 11)]
    }
    assert get(client, "Things(1)/Datastreams(9)/Observations('1-1-1790640000000000')")["result"] == 1.0
    assert get(client, "Datastreams(9)")["phenomenonTime"] == "2026-09-29T00:00:00.000Z/2026-10-02T02:45:00.000Z"
    assert "phenomenonTime" not in get(client, "Datastreams(25)")


def test_a_corrected_value_and_a_reason_go_with_the_raw_one(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO corrections (device_id, quantity, first, last, shift, note, made_by) "
                "VALUES (1, 'level_m', '2026-09-29', '2026-09-29', 0.5, 'levelled', 'duty')"
            )
        )
    found = get(client, "Datastreams(9)/Observations", top="4")["value"]
    assert (found[0]["result"], found[0]["parameters"]["corrected"]) == (1.0, 1.5)
    assert "corrected" not in found[1]["parameters"]
    assert found[3]["resultQuality"]["reason"]["check"] == "spike"


REQUESTS = (
    ("Things(99)", 404),
    ("Things(99)/Datastreams", 404),
    ("Things(1)/Datastreams(17)", 404),
    ("Things(999999999999999999)", 404),
    ("Datastreams(8)", 404),
    ("Datastreams(14)", 404),
    ("Observations('1-1-5')", 404),
    ("Observations('x')", 404),
    ("Observations('1-1-999999999999999999')", 404),
    ("Things('1')", 400),
    ("Nothing", 404),
    ("Things(1)/secret", 404),
    ("Things(1)/name/more", 404),
    ("Things/Datastreams", 404),
    ("Things(1)/@iot.id", 404),
    ("Things(1);DROP TABLE readings", 404),
    ("Things?$top=-1", 400),
    ("Things?$top=many", 400),
    ("Things?$count=perhaps", 400),
    ("Things?$filter=name eq", 400),
    ("Things?$filter=name", 400),
    ("Things?$filter=nothing eq 1", 400),
    ("Things?$filter=name eq 1", 400),
    ("Things?$filter=name gt null", 400),
    ("Things?$filter=sleep(10) eq 1", 400),
    ("Things?$filter=name eq 'x'' or 1 eq 1", 400),
    ("Things?$filter=st_touches(location, geography'POINT(1 1)')", 501),
    ("Things?$filter=Datastreams/Observations/result gt 3", 501),
    ("Things?$filter=" + "(" * 500 + "1 eq 1" + ")" * 500, 200),
    ("Things?$filter=" + " or ".join(["1 eq 1"] * 300), 400),
    ("Things?$filter=" + "not " * 900 + "1 eq 1", 400),
    ("Things?$filter=name eq '%00'", 400),
    ("Things?$filter=id eq 99999999999999999999999999", 200),
    ("Things?$filter=id eq 1e999", 400),
    ("Things?$filter=id eq " + "9" * 400, 400),
    ("Things?$filter=id in (1," + "9" * 400 + ")", 400),
    ("Observations?$filter=result gt -" + "9" * 400, 400),
    ("Things?$filter=id eq " + "9" * 3_900, 400),
    ("Observations('1-1---5')", 404),
    ("Observations?$skiptoken=1-1---5", 400),
    ("Datastreams(9)/Observations?$filter=result div 0 gt 1", 400),
    ("Datastreams(9)/Observations?$filter=phenomenonTime gt 2026-13-45T00:00:00Z", 400),
    ("Things?$orderby=name sideways", 400),
    ("Things?$orderby=Datastreams/name", 400),
    ("Things?$orderby=", 200),
    ("Things?$select=password", 400),
    ("Things?$expand=Everything", 400),
    ("Things?$expand=Datastreams(", 400),
    ("Things?$expand=Datastreams($top=x)", 400),
    ("Things?$expand=" + "Datastreams($expand=Thing($expand=" * 4 + "Datastreams" + "))" * 4, 400),
    ("Things?$resultFormat=dataArray", 501),
    ("Things?$skiptoken=x", 400),
    ("Observations?$skiptoken=x", 400),
    ("Things?$search=x", 400),
)


def test_what_is_wrong_is_refused_in_the_formats_own_way(client: FlaskClient) -> None:
    for path, status in REQUESTS:
        answer = client.get(f"{ROOT}/{path}")
        assert answer.status_code == status, (path, answer.text)
        if status != 200:
            assert answer.json["code"] == status, path
            assert answer.json["message"], path
            assert "Traceback" not in answer.text, path


def test_a_question_that_takes_too_long_is_ended_with_advice(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgauge.storage.sensorthings.query.STATEMENT_TIMEOUT_S", 0.001)
    answer = client.get(f"{ROOT}/Observations?$orderby=result&$count=true")
    assert answer.status_code == 400
    assert "takes too long" in answer.json["message"]


def test_what_is_expanded_has_a_bound_however_often_the_same_is(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twenty times the same few hundred: little to ask the database, much to send.
    often = {"expand": "Datastream($expand=Observations($top=1000))", "select": "result"}
    assert get(client, "Datastreams(9)/Observations", top="20", **often)["value"][19]["Datastream"]["Observations"]
    refused = get(client, "Datastreams(9)/Observations", 400, top="100", **often)
    assert "20000 entities" in refused["message"]
    monkeypatch.setattr("app.sensorthings.answers.MAX_ENTITIES", 400)
    assert len(get(client, "Things", expand="Datastreams($expand=Observations($top=50))")["value"]) == 3
    deep = get(client, "Things", 400, expand="Datastreams($expand=Observations($top=1000))")
    assert (deep["code"], deep["type"]) == (400, "error")


def test_all_questions_of_a_request_share_its_time(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sensorthings.answers.MAX_S", -1.0)
    refused = get(client, "Things", 400, expand="Datastreams")
    assert "expand less" in refused["message"]
