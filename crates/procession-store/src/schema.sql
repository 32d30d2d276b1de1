-- The run store of Procession, version 5. Times are seconds since 1970 (UTC), durations seconds, sizes bytes.
-- A commit is on the disk (synchronous=FULL) before an item is begun, so that also after a loss of power it is known what
-- may have run. Where items may be run again (idempotent) the last moments may be missing then (synchronous=NORMAL).

-- What is run: one row.
CREATE TABLE job (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    name        TEXT NOT NULL,
    task        TEXT NOT NULL,      -- its full path
    signature   TEXT NOT NULL,      -- its parameters and what it returns
    idempotent  INTEGER NOT NULL,   -- 1: items may be run again after their worker was lost
    reduce      TEXT,               -- sum, min, max, mean or count
    source      TEXT NOT NULL,      -- where items come from, in words
    items       INTEGER,            -- how many there are; NULL: not counted yet
    chosen      TEXT,               -- which of them are this run's, such as 3,7,10-20,100-; NULL: all
    shard       TEXT,               -- which part of these, as i/n: those whose idx mod n is i - 1; NULL: all
    first       INTEGER,            -- of these the first so many; NULL: all
    input       BLOB,               -- a digest of all items' keys, in order; NULL: not known
    kept        TEXT,               -- the file in this directory that keeps standard input, if items come from there
    spec        TEXT,               -- the job spec as it was read
    argv        TEXT NOT NULL,      -- the command line that began it, a JSON array
    cwd         TEXT NOT NULL       -- where that was typed
) STRICT;

-- Each start of a master on it.
CREATE TABLE session (
    id          INTEGER PRIMARY KEY,
    pid         INTEGER NOT NULL,
    host        TEXT NOT NULL,
    boot        TEXT NOT NULL,      -- of the machine, so that a process id is told from that of another life
    version     TEXT NOT NULL,
    workers     INTEGER NOT NULL,   -- of this machine; 0: items run where agents are
    started_at  REAL NOT NULL,
    ended_at    REAL,               -- NULL: it runs, or was killed
    ending      TEXT,               -- complete, incomplete, signalled, broken or unwritable
    handed_out  INTEGER NOT NULL DEFAULT 0  -- so many of its items, from the first on, may have been begun by then
) STRICT;

-- Each worker process.
CREATE TABLE worker (
    session     INTEGER NOT NULL REFERENCES session (id),
    slot        INTEGER NOT NULL,   -- which of the workers it was, from 0
    pid         INTEGER NOT NULL,
    birth       INTEGER NOT NULL,   -- in clock ticks since the machine's start, as in /proc/PID/stat
    started_at  REAL NOT NULL,
    ended_at    REAL,
    exit        INTEGER,
    signal      INTEGER,
    PRIMARY KEY (session, pid, birth)
) STRICT, WITHOUT ROWID;

-- Each stay of an agent, where items run on other machines.
CREATE TABLE agent (
    session     INTEGER NOT NULL REFERENCES session (id),
    name        TEXT NOT NULL,      -- its machine, its process, and a few digits
    first_slot  INTEGER NOT NULL,   -- of its workers: all agents' are counted through
    workers     INTEGER NOT NULL,
    joined_at   REAL NOT NULL,
    left_at     REAL,               -- NULL: it is there, or the master was killed
    leaving     TEXT,               -- left, silent or broken; NULL: it was there to the end
    chunks      INTEGER NOT NULL DEFAULT 0  -- whose leases it has, as it said last
) STRICT;

-- Each item that has an outcome. An item without a row was not run, or nobody knows.
CREATE TABLE item (
    idx         INTEGER PRIMARY KEY,    -- its place in the input, from 0
    key         BLOB,               -- a digest of its arguments; NULL: they could not be read
    outcome     TEXT NOT NULL,      -- ok, panicked, worker_lost, timed_out, …, unknown
    attempts    INTEGER NOT NULL,   -- starts after which it had this outcome
    flaky       INTEGER NOT NULL DEFAULT 0, -- 1: it has a value, and had failed by itself before
    session     INTEGER NOT NULL,
    slot        INTEGER,            -- the worker of the last start
    pid         INTEGER,
    started_at  REAL,
    wall_s      REAL,
    cpu_s       REAL,
    peak_rss    INTEGER,            -- of its worker until then
    exit        INTEGER,
    signal      INTEGER,
    error       TEXT,
    args        TEXT,               -- a JSON array; of commands, and of items without a value
    stderr_tail TEXT,
    backtrace   TEXT,
    reproduce   TEXT,               -- the command that runs it alone
    value       TEXT,               -- JSON
    payload     BLOB,               -- the value as the program encodes it, where the job reduces
    stdout      BLOB,               -- what a command printed, whether it failed or not
    stderr      BLOB
) STRICT;

-- Items that a session had handed out and that were not begun, as long as it goes on: after a kill they are known not to have run.
CREATE TABLE not_begun (
    idx         INTEGER PRIMARY KEY,
    session     INTEGER NOT NULL
) STRICT;

-- Of the agents that are there something is heard every second.
CREATE INDEX agent_that_is_there ON agent (session, name) WHERE left_at IS NULL;

-- What becomes of an item that had no value is looked for often, and is rare.
CREATE INDEX item_without_value ON item (outcome) WHERE outcome <> 'ok';
