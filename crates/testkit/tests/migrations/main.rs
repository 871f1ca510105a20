//! A thousand migrations of each cause, over a simulated network that tells what it has lost: every
//! datagram reaches the old or the new backend, one of them, in order, and nothing is lost but by links.
//!
//! `cargo test -p udp-director-testkit --test migrations -- --nocapture` prints the figures.

mod account;
mod failures;
mod scene;

use std::collections::BTreeSet;
use std::time::Duration;

use account::{Account, beyond_a_tick, unanswered};
use scene::{Cause, Network, Scene, dead};
use udp_director_testkit::sim::World;

/// Sessions that migrate in each scene.
const MIGRATIONS: u64 = 1000;

/// The longest that a datagram and its echo are under way on bad links.
const LONGEST_WAY: Duration = Duration::from_millis(2 * (40 + 8));

const ALIVE: Scene =
    Scene { cause: Cause::Client, half_are_dead: false, roaming: false, network: Network::Perfect, seed: 1 };

fn of_each_cause(scene: &Scene, check: impl Fn(&Scene, &World, &Account)) {
    for cause in [Cause::Client, Cause::Operator, Cause::BackendGone] {
        let scene = Scene { cause, ..*scene };
        let (world, migrations, account) = scene.play(MIGRATIONS);
        check(&scene, &world, &account);
        print(&scene, migrations, &account);
    }
}

#[test]
fn every_datagram_reaches_one_of_old_and_new_in_order_and_no_player_waits_for_it() {
    of_each_cause(&ALIVE, |scene, world, account| {
        account.check_in_order(world);
        assert_eq!(world.all_drops(), 0, "{scene:?}");
        assert_eq!(beyond_a_tick(account.longest_gap), Duration::ZERO, "{scene:?}");
    });
}

/// Half of the backends take datagrams and answer none. Players go to one, and come from one.
#[test]
fn only_what_has_reached_a_dead_backend_is_not_answered() {
    of_each_cause(&Scene { half_are_dead: true, ..ALIVE }, |scene, world, account| {
        account.check_in_order(world);
        assert_eq!(world.all_drops(), 0, "{scene:?}");
        assert_eq!(beyond_a_tick(account.longest_gap), Duration::ZERO, "{scene:?}");
        for player in world.players() {
            let answered: BTreeSet<u32> = player.echoes().iter().map(|echo| echo.beat.number).collect();
            let missing: BTreeSet<u32> =
                (0..player.beats()).filter(|beat| !answered.contains(beat)).collect();
            assert_eq!(missing, unanswered(world, player.id().0, &dead()), "{:?}", player.id());
        }
    });
}

#[test]
fn players_who_change_their_address_while_they_are_moved_lose_nothing() {
    of_each_cause(&Scene { roaming: true, ..ALIVE }, |scene, world, account| {
        account.check_in_order(world);
        assert_eq!(beyond_a_tick(account.longest_gap), Duration::ZERO, "{scene:?}");
        assert_eq!(world.all_drops(), 0, "{scene:?}");
    });
}

#[test]
fn nothing_is_lost_that_bad_links_did_not_lose() {
    for seed in 1..=2 {
        let scene = Scene { network: Network::Bad, half_are_dead: seed % 2 == 0, seed, ..ALIVE };
        of_each_cause(&scene, |scene, _, account| {
            assert!(account.longest_wait <= LONGEST_WAY, "{scene:?}: {:?}", account.longest_wait);
        });
    }
}

/// One line of the table.
fn print(scene: &Scene, migrations: u64, account: &Account) {
    let (up, down) = (account.up, account.down);
    let backends = if scene.half_are_dead { "half of them dead" } else { "alive" };
    let links = match (scene.network, scene.roaming) {
        (Network::Perfect, false) => "perfect",
        (Network::Perfect, true) => "perfect, players roam",
        (Network::Bad, _) => "bad",
    };
    let gap = match scene.network {
        Network::Perfect => format!("{:.1} ms", account.longest_gap.as_secs_f64() * 1000.0),
        Network::Bad => "the links'".to_owned(),
    };
    println!(
        "| {} | {backends} | {links} | {migrations} | {} + {} | {} + {} | {} | {gap} |",
        scene.cause.name(),
        up.sent(),
        down.sent(),
        up.lost_by_links() + down.lost_by_links(),
        up.doubled_by_links() + down.doubled_by_links(),
        up.lost_by_director() + down.lost_by_director(),
    );
}
