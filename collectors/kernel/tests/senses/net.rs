//! Network namespaces, connections that fail, and a name server of the test's own.

use std::process::{Child, Command, Stdio};

use tapio_collect::Unbound;
use tapio_model::{Kind, Source, keys};

use crate::world::{Cgroup, Need, Pod, Watch, is_ci, memory, run, said};

/// Says whether network namespaces can be made.
pub(crate) fn spaces() -> Result<(), Need> {
    if is_ci() && run("ip", &["-V"]).is_err() {
        drop(run("apt-get", &["install", "-y", "--no-install-recommends", "iproute2"]));
    }
    memory()?;
    Pair::try_make("probe").map(drop).map_err(Need)?;
    let python = run("python3", &["-c", ""]);
    python.map_err(Need)
}

/// Says whether packets can be dropped, too.
pub(crate) fn drops() -> Result<(), Need> {
    if is_ci() && run("nft", &["-v"]).is_err() {
        drop(run("apt-get", &["install", "-y", "--no-install-recommends", "nftables"]));
    }
    spaces()
}

/// Two network namespaces with a cable between them: 10.231.7.1 calls, 10.231.7.2 answers.
struct Pair {
    caller: String,
    server: String,
}

const SERVER: &str = "10.231.7.2";

impl Pair {
    fn make(name: &str) -> Self {
        Self::try_make(name).expect("network namespaces")
    }

    fn try_make(name: &str) -> Result<Self, String> {
        let pid = std::process::id();
        let of = |end: &str| format!("tapio-test-{name}-{end}-kernel-{pid}");
        let pair = Self { caller: of("a"), server: of("b") };
        run("ip", &["netns", "add", &pair.caller])?;
        run("ip", &["netns", "add", &pair.server])?;
        let (one, other) = (["link", "add", "tapio0", "netns"], ["type", "veth", "peer", "name"]);
        let cable = [one.as_slice(), &[&pair.caller], &other, &["tapio0", "netns", &pair.server]];
        run("ip", &cable.concat())?;
        for (space, address) in [(&pair.caller, "10.231.7.1/24"), (&pair.server, "10.231.7.2/24")] {
            run("ip", &["-n", space, "address", "add", address, "dev", "tapio0"])?;
            run("ip", &["-n", space, "link", "set", "tapio0", "up"])?;
            run("ip", &["-n", space, "link", "set", "lo", "up"])?;
        }
        Ok(pair)
    }

    /// Lets packets to a port of the server vanish; without a filter, all of the server does.
    fn drop_port(&self, port: &str) -> &'static str {
        let nft = |words: &str| {
            let inside = ["netns", "exec", &self.server, "nft"];
            run("ip", &[inside.as_slice(), &words.split(' ').collect::<Vec<_>>()].concat())
        };
        let chain = "add chain ip tapio in { type filter hook input priority 0 ; }";
        let rule = format!("add rule ip tapio in tcp dport {port} drop");
        let filtered =
            nft("add table ip tapio").and_then(|()| nft(chain)).and_then(|()| nft(&rule));
        if filtered.is_ok() {
            return "nft";
        }
        // Nobody has this address, and the cable is told who does: packets go out and nobody answers.
        let vanish = ["neigh", "replace", "10.231.7.9", "lladdr", "02:00:00:00:00:09"];
        let inside = ["-n", &self.caller];
        let gone = [inside.as_slice(), &vanish, &["dev", "tapio0", "nud", "permanent"]];
        run("ip", &gone.concat()).expect("a neighbour that is not there");
        "a neighbour that is not there"
    }

    fn command(&self, space: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", space]).args(words);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs a script that calls, in a group.
    fn call(&self, group: &Cgroup, script: &str) {
        let words = ["ip", "netns", "exec", &self.caller, "python3", "-c", script];
        group.command(&words).status().expect("python3");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for space in [&self.caller, &self.server] {
            drop(run("ip", &["netns", "delete", space]));
        }
    }
}

fn connect(address: &str, port: &str) -> String {
    format!(
        "import socket\ns = socket.socket()\ns.settimeout(4)\n\
         try:\n s.connect(('{address}', {port}))\nexcept OSError:\n pass\n"
    )
}

pub(crate) fn refused_and_dropped() {
    let pair = Pair::make("drop");
    let how = pair.drop_port("4002");
    println!("packets vanish by {how}");
    let silent = if how == "nft" { SERVER } else { "10.231.7.9" };
    let pod = Pod::new(1);
    let group = Cgroup::of_pod("drop", &pod);
    let watch = Watch::begin(&["tcp_state", "tcp_retransmit", "tcp_reset", "syscall_errno"]);
    pair.call(&group, &connect(SERVER, "4001"));
    pair.call(&group, &connect(silent, "4002"));
    let at = |event: &Unbound, port: i64| said(event).int(keys::PEER_PORT) == Some(port);
    let is = |event: &Unbound, kind, port| event.kind == kind && at(event, port);
    let (told, _) =
        watch.until(|told| told.iter().any(|event| is(event, Kind::ConnectTimeout, 4_002)));
    let kinds = |port: i64| {
        let mut kinds: Vec<_> =
            told.iter().filter(|event| at(event, port)).map(|event| event.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds(4_001), [Kind::ConnectRefused]);
    assert_eq!(kinds(4_002), [Kind::ConnectTimeout, Kind::SynRetransmit]);
    let refused = told.iter().filter(|event| is(event, Kind::ConnectRefused, 4_001));
    assert_eq!(refused.clone().count(), 1, "told once");
    let refused = refused.into_iter().next().unwrap();
    let words = said(refused);
    assert_eq!(refused.source, Source::Network);
    assert_eq!(words.text(keys::PEER_ADDRESS), Some(SERVER));
    assert_eq!(words.text(keys::ERROR_TYPE), Some("ECONNREFUSED"));
    assert_eq!(words.text(keys::PROCESS_NAME), Some("python3"));
    assert_eq!(words.text(keys::PEER_SERVICE), Some("stock"), "{refused:?}");
    assert_eq!(refused.place.cgroup.as_deref(), Some(&*group.path()), "{refused:?}");
    assert_eq!(refused.place.container_id.as_deref(), Some(&*pod.container_id));
    // A packet that is sent again is sent by a timer, whoever runs: the socket says whose it is.
    for event in told.iter().filter(|event| at(event, 4_001) || at(event, 4_002)) {
        assert_eq!(event.place.pod_uid.as_deref(), Some(&*pod.uid), "{event:?}");
    }
}

/// A running name server. Ended when dropped.
struct NameServer(Child);

impl Drop for NameServer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Answers every question with NXDOMAIN (code 3), or not at all; says when it listens.
fn name_server(pair: &Pair, is_silent: bool) -> NameServer {
    let answer = if is_silent {
        "pass"
    } else {
        "s.sendto(q[:2] + bytes([0x81, 0x83]) + q[4:6] + bytes(6) + q[12:], who)"
    };
    let script = format!(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.bind(('{SERVER}', 53))\nprint('listening', flush=True)\n\
         while True:\n q, who = s.recvfrom(512)\n {answer}\n"
    );
    let mut server = pair.command(&pair.server, &["python3", "-c", &script]);
    let server = server.stdout(Stdio::piped()).spawn().expect("a name server");
    let mut server = NameServer(server);
    let mut line = [0; 9];
    let out = server.0.stdout.as_mut().expect("its output");
    std::io::Read::read_exact(out, &mut line).expect("a name server that listens");
    server
}

/// Asks once for the address of a name, and waits a moment.
fn question(name: &str) -> String {
    format!(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(1)\n\
         q = b'\\x12\\x34\\x01\\x00\\x00\\x01' + bytes(6)\n\
         q += b''.join(bytes([len(l)]) + l.encode() for l in '{name}'.split('.'))\n\
         s.sendto(q + b'\\x00\\x00\\x01\\x00\\x01', ('{SERVER}', 53))\n\
         try:\n s.recv(512)\nexcept OSError:\n pass\n"
    )
}

fn asked(name: &str, is_silent: bool) -> Unbound {
    let (own, number) = if is_silent { ("silent", 2) } else { ("nobody", 3) };
    let pod = Pod::new(number);
    let group = Cgroup::of_pod(own, &pod);
    let pair = Pair::make(own);
    let server = name_server(&pair, is_silent);
    let watch = Watch::begin(&["dns"]);
    pair.call(&group, &question(name));
    let is_it = |event: &Unbound| {
        event.kind == Kind::DnsFailure && said(event).text(keys::DNS_NAME) == Some(name)
    };
    let (told, _) = watch.until(|told| told.iter().any(is_it));
    drop(server);
    let found: Vec<_> = told.into_iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "told once: {found:#?}");
    let event = found[0].clone();
    assert_eq!(event.source, Source::Network);
    assert_eq!(said(&event).text(keys::PROCESS_NAME), Some("python3"), "{event:?}");
    assert_eq!(event.place.pod_uid.as_deref(), Some(&*pod.uid), "{event:?}");
    event
}

pub(crate) fn nxdomain() {
    let event = asked("nobody.tapio.test", false);
    let words = said(&event);
    assert_eq!(words.text(keys::DNS_RCODE), Some("nxdomain"));
    assert_eq!(words.text(keys::DNS_SERVER), Some(SERVER));
}

pub(crate) fn silent_server() {
    let event = asked("silent.tapio.test", true);
    let words = said(&event);
    assert_eq!(words.text(keys::DNS_RCODE), Some("timeout"));
    assert_eq!(words.text(keys::DNS_SERVER), Some(SERVER));
}
