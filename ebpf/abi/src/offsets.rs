//! Where the running kernel keeps what the probes read.

use zerocopy::{FromBytes, IntoBytes};

/// An offset that is not known: what needs it is left out of the record.
pub const UNSET: u32 = u32::MAX;

macro_rules! offsets {
    (
        $(#[doc = $doc:literal])+
        $set:ident, $key:ty;
        $($name:ident = $($part:literal),+;)+
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes)]
        #[repr(C)]
        pub struct $set {
            $(#[doc = concat!("Offset of `", $($part, " ",)+ "`, or [`UNSET`].")] pub $name: u32,)+
        }

        impl $set {
            /// What to look up for each word, in the order of the words.
            pub const FIELDS: &'static [$key] = &[$(($($part),+),)+];
            /// How many words the global has.
            pub const WORDS: usize = Self::FIELDS.len();
            /// Nothing is known.
            pub const NONE: Self = Self { $($name: UNSET,)+ };

            /// Makes a set of words in the order of [`Self::FIELDS`].
            #[must_use]
            pub fn from_words(words: [u32; Self::WORDS]) -> Self {
                zerocopy::transmute!(words)
            }

            /// Returns the words that the global is overridden with.
            #[must_use]
            pub fn words(&self) -> [u32; Self::WORDS] {
                zerocopy::transmute!(*self)
            }
        }
    };
}

offsets! {
    /// Offsets of fields from the kernel's BTF: the global [`crate::maps::OFFSETS`].
    ///
    /// A key is a type and a path to a field in it, in bytes from its beginning through nested and
    /// unnamed members. Where a field has had several names they are set apart by `|`.
    Offsets, (&'static str, &'static str);
    task_pid = "task_struct", "pid";
    task_tgid = "task_struct", "tgid";
    task_comm = "task_struct", "comm";
    task_cgroups = "task_struct", "cgroups";
    task_nsproxy = "task_struct", "nsproxy";
    task_mm = "task_struct", "mm";
    task_signal = "task_struct", "signal";
    task_real_parent = "task_struct", "real_parent";
    task_exit_code = "task_struct", "exit_code";
    task_start_time = "task_struct", "start_time";
    task_thread_pid = "task_struct", "thread_pid";
    task_run_delay = "task_struct", "sched_info.run_delay";
    css_set_subsys = "css_set", "subsys";
    css_set_dfl_cgrp = "css_set", "dfl_cgrp";
    css_cgroup = "cgroup_subsys_state", "cgroup";
    css_parent = "cgroup_subsys_state", "parent";
    cgroup_kn = "cgroup", "kn";
    kernfs_id = "kernfs_node", "id";
    memcg_usage = "mem_cgroup", "memory.usage";
    memcg_max = "mem_cgroup", "memory.max|memory.limit";
    nsproxy_net = "nsproxy", "net_ns";
    net_inum = "net", "ns.inum";
    mm_rss_stat = "mm_struct", "rss_stat";
    percpu_count = "percpu_counter", "count";
    signal_live = "signal_struct", "live";
    signal_oom_score_adj = "signal_struct", "oom_score_adj";
    pid_level = "pid", "level";
    pid_numbers = "pid", "numbers";
    upid_nr = "upid", "nr";
    upid_ns = "upid", "ns";
    pidns_inum = "pid_namespace", "ns.inum";
    bprm_filename = "linux_binprm", "filename";
    siginfo_code = "kernel_siginfo", "si_code";
    regs_syscall = "pt_regs", "orig_ax|syscallno";
    sock_family = "sock", "__sk_common.skc_family";
    sock_state = "sock", "__sk_common.skc_state";
    sock_num = "sock", "__sk_common.skc_num";
    sock_dport = "sock", "__sk_common.skc_dport";
    sock_saddr = "sock", "__sk_common.skc_rcv_saddr";
    sock_daddr = "sock", "__sk_common.skc_daddr";
    sock_saddr6 = "sock", "__sk_common.skc_v6_rcv_saddr";
    sock_daddr6 = "sock", "__sk_common.skc_v6_daddr";
    sock_net = "sock", "__sk_common.skc_net.net";
    sock_protocol = "sock", "sk_protocol";
    sock_err = "sock", "sk_err";
    sock_cgroup = "sock", "sk_cgrp_data.cgroup|sk_cgrp_data.val";
    inet_sport = "inet_sock", "inet_sport";
    icsk_retransmits = "inet_connection_sock", "icsk_retransmits";
    skb_head = "sk_buff", "head";
    skb_data = "sk_buff", "data";
    skb_sk = "sk_buff", "sk";
    skb_dev = "sk_buff", "dev";
    skb_network_header = "sk_buff", "network_header";
    skb_transport_header = "sk_buff", "transport_header";
    dev_net = "net_device", "nd_net.net";
    rq_queue = "request", "q";
    rq_cmd_flags = "request", "cmd_flags";
    rq_sector = "request", "__sector";
    rq_start_time = "request", "start_time_ns";
    rq_bio = "request", "bio";
    queue_disk = "request_queue", "disk";
    disk_major = "gendisk", "major";
    disk_minor = "gendisk", "first_minor";
    bio_blkg = "bio", "bi_blkg";
    blkg_blkcg = "blkcg_gq", "blkcg";
    blkcg_css_cgroup = "blkcg", "css.cgroup";
}

offsets! {
    /// Offsets of fields of classic tracepoints, from their `format` files: the global
    /// [`crate::maps::FORMATS`].
    ///
    /// A key is category, event and field.
    Formats, (&'static str, &'static str, &'static str);
    oom_pid = "oom", "mark_victim", "pid";
    oom_anon = "oom", "mark_victim", "anon_rss";
    oom_file = "oom", "mark_victim", "file_rss";
    oom_shmem = "oom", "mark_victim", "shmem_rss";
    oom_score_adj = "oom", "mark_victim", "oom_score_adj";
    retransmit_sock = "tcp", "tcp_retransmit_skb", "skaddr";
    retransmit_sport = "tcp", "tcp_retransmit_skb", "sport";
    retransmit_dport = "tcp", "tcp_retransmit_skb", "dport";
    retransmit_family = "tcp", "tcp_retransmit_skb", "family";
    retransmit_state = "tcp", "tcp_retransmit_skb", "state";
    retransmit_saddr = "tcp", "tcp_retransmit_skb", "saddr";
    retransmit_daddr = "tcp", "tcp_retransmit_skb", "daddr";
    retransmit_saddr6 = "tcp", "tcp_retransmit_skb", "saddr_v6";
    retransmit_daddr6 = "tcp", "tcp_retransmit_skb", "daddr_v6";
    state_sock = "sock", "inet_sock_set_state", "skaddr";
    state_old = "sock", "inet_sock_set_state", "oldstate";
    state_new = "sock", "inet_sock_set_state", "newstate";
    state_sport = "sock", "inet_sock_set_state", "sport";
    state_dport = "sock", "inet_sock_set_state", "dport";
    state_family = "sock", "inet_sock_set_state", "family";
    state_protocol = "sock", "inet_sock_set_state", "protocol";
    state_saddr = "sock", "inet_sock_set_state", "saddr";
    state_daddr = "sock", "inet_sock_set_state", "daddr";
    state_saddr6 = "sock", "inet_sock_set_state", "saddr_v6";
    state_daddr6 = "sock", "inet_sock_set_state", "daddr_v6";
    syscall_id = "raw_syscalls", "sys_exit", "id";
    syscall_ret = "raw_syscalls", "sys_exit", "ret";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_fields_in_their_order() {
        let mut words = [UNSET; Offsets::WORDS];
        words[1] = 99;
        let offsets = Offsets::from_words(words);
        assert_eq!(Offsets::FIELDS[1], ("task_struct", "tgid"));
        assert_eq!((offsets.task_pid, offsets.task_tgid), (UNSET, 99));
        assert_eq!(offsets.words(), words);
        assert_eq!(Formats::NONE.words(), [UNSET; Formats::WORDS]);
    }
}
