-- The greatest number of an event that an archive has taken out of the log: up to there not all are
-- kept, and whoever would go on from before it begins anew.
CREATE TABLE event_log (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    archived INTEGER NOT NULL
);
INSERT INTO event_log (id, archived) VALUES (1, 0);
