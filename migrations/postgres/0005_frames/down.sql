DROP TABLE observation_unit_sets;
DROP TABLE pipeline_runs;
DROP TABLE frame_reductions;
DROP TABLE products;
DROP TABLE exposures;
