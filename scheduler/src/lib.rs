//! Aftercare's heart: heartbeat, dispatcher, retry policy and push over FCM HTTP v1.

pub mod push;
