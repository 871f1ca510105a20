//! Pace: how many players may move by now.

use std::time::Duration;

use udp_director_core::Moment;

/// How long the rate can be saved up.
const BURST: Duration = Duration::from_millis(200);

/// How many may move by now.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    since: Moment,
    /// In players.
    saved: f64,
}

impl Pace {
    /// Takes one move, if there is one to be had.
    pub(crate) fn take(&mut self, now: Moment, per_second: u32) -> bool {
        let has = self.has(now, per_second);
        if has {
            self.spend();
        }
        has
    }

    /// Whether there is one to be had.
    pub(crate) fn has(&mut self, now: Moment, per_second: u32) -> bool {
        let rate = f64::from(per_second);
        let most = (rate * BURST.as_secs_f64()).max(1.0);
        self.saved = (self.saved + rate * (now - self.since).as_secs_f64()).min(most);
        self.since = now;
        self.saved >= 1.0
    }

    /// Takes one that [`Pace::has`] has found.
    pub(crate) fn spend(&mut self) {
        self.saved -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_saves_a_fifth_of_a_second_and_no_more() {
        let mut pace = Pace::default();
        let at = |millis| Moment::since_epoch(Duration::from_millis(millis));
        let takes = |pace: &mut Pace, now| (0..1_000).take_while(|_| pace.take(now, 100)).count();
        assert_eq!(takes(&mut pace, at(60_000)), 20);
        assert_eq!(takes(&mut pace, at(60_050)), 5);
        assert!(Pace::default().take(at(1_000), 1), "one is always to be had");
    }
}
