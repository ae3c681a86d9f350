DROP TABLE frame_solutions;
