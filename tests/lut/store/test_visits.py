import pytest

from nascli.errors import StoreError
from nascli.lut import Setup, Store
from nascli.lut.store.database import Database
from nascli.lut.store.visits import RoundConditions, Visit, VisitLog

SETUP = Setup("dev", "rt", "1", "fp32", 16, 1)
ROUND = RoundConditions(1.0, 2.0, 3, 0.01, None, 0.5)


@pytest.fixture
def database(tmp_path):
    with Store(tmp_path / "s") as store:
        store.add_setup(SETUP, {})
    database = Database(tmp_path / "s")
    yield database
    database.close()


def test_a_visit_comes_back_with_its_rounds_in_order(database):
    log = VisitLog(database)
    visit = log.begin(SETUP, 1.0, {"load": [0.1]})
    later = RoundConditions(3.0, 2.0, 3, None, 0.25, None, {"sm_mhz": 1404})
    log.add_round(visit, 1, later)
    log.add_round(visit, 0, ROUND)
    assert log.of_setup(SETUP) == [Visit(1.0, None, {"load": [0.1]}, None, (ROUND, later))]
    log.end(visit, 4.0, {"load": [0.2]})
    second = log.begin(SETUP, 9.0, {})
    assert second != visit
    assert log.of_setup(SETUP) == [
        Visit(1.0, 4.0, {"load": [0.1]}, {"load": [0.2]}, (ROUND, later)),
        Visit(9.0, None, {}, None, ()),
    ]


def test_a_round_is_recorded_once(database):
    log = VisitLog(database)
    visit = log.begin(SETUP, 1.0, {})
    log.add_round(visit, 0, ROUND)
    log.add_round(visit, 0, RoundConditions(9.0, 9.0, 9, None, None, None))
    assert log.of_setup(SETUP)[0].rounds == (ROUND,)


def test_a_setup_that_was_never_made_known_has_no_visits_and_cannot_begin_one(database):
    log, other = VisitLog(database), Setup("other", "rt", "1", "fp32", 16, 1)
    assert log.of_setup(other) == []
    with pytest.raises(StoreError, match="does not know the setup other"):
        log.begin(other, 1.0, {})


def test_a_deletion_belongs_to_the_transaction_around_it(database):
    log = VisitLog(database)
    log.add_round(log.begin(SETUP, 1.0, {}), 0, ROUND)

    def delete(fails):
        with database.transaction():
            log.delete(database.setup_id(SETUP))
            if fails:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delete(fails=True)
    assert log.of_setup(SETUP)[0].rounds == (ROUND,)
    delete(fails=False)
    assert log.of_setup(SETUP) == [] and database.integrity() == []
    assert database.connection.execute("SELECT count(*) FROM rounds").fetchone() == (0,)
