//! Lengths of time as people read them.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// `30 days`, `1 hour`, `5 minutes`: whole ones of the largest unit that there is one of; of nothing or less, `0 seconds`.
pub(crate) fn about(seconds: i64) -> String {
    let (number, unit) = match seconds {
        DAY.. => (seconds / DAY, "day"),
        HOUR.. => (seconds / HOUR, "hour"),
        MINUTE.. => (seconds / MINUTE, "minute"),
        _ => (seconds.max(0), "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// `2592000 s (30 days)`, where that is exact in days or hours; else `90 s`.
pub(crate) fn exact(seconds: i64) -> String {
    if seconds >= HOUR && (seconds % DAY == 0 || seconds < DAY && seconds % HOUR == 0) {
        format!("{seconds} s ({})", about(seconds))
    } else {
        format!("{seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::{about, exact};

    #[test]
    fn the_largest_unit_is_said() {
        let cases = [(-5, "0 seconds"), (1, "1 second"), (119, "1 minute"), (7_200, "2 hours"), (86_400, "1 day")];
        for (seconds, expected) in cases {
            assert_eq!(about(seconds), expected);
        }
        let cases = [(86_400, " (1 day)"), (2_592_000, " (30 days)"), (7_200, " (2 hours)"), (90_000, ""), (90, "")];
        for (seconds, expected) in cases {
            assert_eq!(exact(seconds), format!("{seconds} s{expected}"));
        }
    }
}
