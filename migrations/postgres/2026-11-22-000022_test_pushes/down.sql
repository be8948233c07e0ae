DROP TABLE test_pushes;
