-- SQLite gathers statistics only when it is told to (ANALYZE), which Aftercare never does.
SELECT 1;
