-- What became of the last runs of database-load, for database-load status: the log of a run that
-- failed goes with its pod.
CREATE TABLE load_runs (
    id uuid PRIMARY KEY,
    host text NOT NULL, -- the pod's name, or the machine's
    began_at timestamptz NOT NULL,
    ended_at timestamptz, -- NULL while it runs, and for ever when it was killed
    outcome text, -- loaded or failed
    message text
);
CREATE INDEX load_runs_by_time ON load_runs (began_at);
