-- The greatest number of an event that an archive has taken out of the log: up to there not all are
-- kept, and whoever would go on from before it begins anew.
ALTER TABLE event_log ADD COLUMN archived bigint NOT NULL DEFAULT 0;
