//! What a service may take of the bus.

use std::time::Duration;

use super::{GOOD, load_text};

/// The sample with these lines in its service.
fn with(lines: &str) -> String {
    GOOD.replace("[[purposes]]", &format!("{lines}\n[[purposes]]"))
}

#[test]
fn limits_of_a_service_are_read() {
    let limits = |lines: &str| {
        let loaded = load_text(&with(lines)).map_err(|e| e.to_string()).expect("valid");
        loaded.snapshot.services["t.v1.S"][0].limits
    };
    let none = limits("");
    assert!(none.calls_in_flight_max.is_none() && none.queue_max.is_none(), "{none:?}");
    assert!(none.wait.is_none() && none.timeout.is_none(), "{none:?}");
    let all = limits("calls_in_flight_max = 7\nqueue_max = 0\nwait_ms = 60000\ntimeout_ms = 2500");
    assert_eq!((all.calls_in_flight_max, all.queue_max), (Some(7), Some(0)));
    assert_eq!((all.wait, all.timeout), (Some(Duration::from_secs(60)), Some(Duration::from_millis(2500))));
}

#[test]
fn limits_out_of_range_are_all_told_at_once() {
    let lines = "calls_in_flight_max = 0\nqueue_max = -1\nwait_ms = 60001\ntimeout_ms = 0";
    let Err(errors) = load_text(&with(lines)) else { unreachable!("four errors") };
    let text = errors.to_string();
    for expected in [
        "calls_in_flight_max must be 1 to 100000",
        "queue_max must be 0 to 100000",
        "wait_ms must be 0 to 60000",
        "timeout_ms must be 1 to 3600000",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    assert!(text.lines().all(|line| line.contains("directory.toml:")), "{text}");
}
