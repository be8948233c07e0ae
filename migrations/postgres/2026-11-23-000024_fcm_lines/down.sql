DROP TABLE fcm_lines;
