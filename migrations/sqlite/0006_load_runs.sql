-- What became of the last runs of database-load, for database-load status: the log of a run that
-- failed goes with its pod.
CREATE TABLE load_runs (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL, -- the pod's name, or the machine's
    began_at INTEGER NOT NULL,
    ended_at INTEGER, -- NULL while it runs, and for ever when it was killed
    outcome TEXT, -- loaded or failed
    message TEXT
);
CREATE INDEX load_runs_by_time ON load_runs (began_at);
