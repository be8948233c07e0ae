DROP TABLE protocol_moves;
DROP TABLE protocol_aliases;
