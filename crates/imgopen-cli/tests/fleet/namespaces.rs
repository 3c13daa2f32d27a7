//! Two hosts, of which one is cut off and comes back: network namespaces of Linux with a cable between them. Needs root.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use super::processes::{Fleet, Role, slowly};
use crate::common::program::imgopen;

/// A host beside this one. It is removed when dropped.
struct Host {
    program: &'static str,
    name: String,
    cable: String,
    /// The address of this host at the cable.
    here: Ipv4Addr,
}

impl Host {
    /// Makes one, or returns `None` where that is not possible.
    fn make() -> Option<Self> {
        let program = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().find(|path| Path::new(path).exists());
        let number = fastrand::u8(1..250);
        let host = Self {
            program: program?,
            name: format!("imgopen{number}"),
            cable: format!("imgopen{number}"),
            here: Ipv4Addr::new(10, 213, number, 1),
        };
        let (name, cable, far) = (host.name.as_str(), host.cable.as_str(), format!("far{number}"));
        let there = format!("10.213.{number}.2/24");
        let here = format!("{}/24", host.here);
        let is_made = host.run(&["netns", "add", name])
            && host.run(&["link", "add", cable, "type", "veth", "peer", "name", &far])
            && host.run(&["link", "set", &far, "netns", name])
            && host.run(&["addr", "add", &here, "dev", cable])
            && host.run(&["link", "set", cable, "up"])
            && host.run(&["-n", name, "addr", "add", &there, "dev", &far])
            && host.run(&["-n", name, "link", "set", &far, "up"])
            && host.run(&["-n", name, "link", "set", "lo", "up"])
            && host.run(&["netns", "exec", name, "true"]);
        is_made.then_some(host)
    }

    fn run(&self, arguments: &[&str]) -> bool {
        Command::new(self.program).args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Pulls the cable, or puts it back.
    fn link(&self, state: &str) {
        assert!(self.run(&["link", "set", &self.cable, state]));
    }

    /// The program on that host.
    fn imgopen(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env_clear().stdin(Stdio::null()).args(["netns", "exec", &self.name]);
        command.arg(imgopen().get_program());
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The cable goes with its other end.
        self.run(&["netns", "del", &self.name]);
        self.run(&["link", "del", &self.cable]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_host_that_is_cut_off_is_replaced_and_comes_back() {
    let Some(mut fleet) = Fleet::new(&[]).await else { return };
    let Some(host) = Host::make() else {
        println!("skipped, because there can be no second host; that needs root, `ip` and network namespaces");
        return;
    };
    let _api = fleet.launch(Role::Api).await;
    fleet.host = IpAddr::V4(host.here);
    let _remote = fleet.launch_by(Role::Worker, &[], host.imgopen(), |_| {}).await;
    fleet.draw("twice", "delay=8s").await;
    let first = fleet.runs("twice", 1).await;
    host.link("down");
    fleet.host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let local = fleet.launch(Role::Worker).await;
    let second = fleet.runs("twice", 2).await;
    assert_ne!(first.run, second.run);
    host.link("up");
    let ended = fleet.reached("twice", "succeeded").await;
    assert_eq!((ended.attempt, ended.run), (2, second.run));
    let workers = "SELECT count(*) FROM owners WHERE role = 'worker' AND lease_until > now_ms()";
    slowly("both workers are registered", async || (fleet.database.count(workers) == 2).then_some(())).await;
    // It works again.
    local.stop();
    fleet.draw("after", "delay=1ms").await;
    fleet.reached("after", "succeeded").await;
    fleet.is_consistent().await;
}
