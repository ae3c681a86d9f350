DROP TABLE strategies;
DROP TABLE alert_timings;
DROP TABLE alert_event_packets;
DROP TABLE alert_events;
DROP TABLE alerts;
