DROP TABLE package_outputs;
DROP TABLE package_runs;
