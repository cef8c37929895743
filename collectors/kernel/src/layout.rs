//! What the probes must be told of this kernel before they are loaded.

use std::{fs, path::Path};

use tapio_ebpf_abi::{Formats, Offsets, Settings, UNSET};

use crate::btf::Btf;

/// Looks up every offset that the probes read; what this kernel does not have stays unset.
pub(crate) fn offsets(btf: &Btf) -> Offsets {
    let mut words = [UNSET; Offsets::WORDS];
    for (word, (name, paths)) in words.iter_mut().zip(Offsets::FIELDS) {
        *word = field(btf, name, paths).unwrap_or(UNSET);
    }
    Offsets::from_words(words)
}

/// Finds a field by the first of its names that this kernel has: `memory.max|memory.limit`.
fn field(btf: &Btf, name: &str, paths: &str) -> Option<u32> {
    paths.split('|').find_map(|path| btf.offset(name, &path.split('.').collect::<Vec<_>>()))
}

/// Reads the format files of classic tracepoints; what is not there stays unset.
pub(crate) fn formats(tracefs: &Path) -> Formats {
    let mut words = [UNSET; Formats::WORDS];
    for (word, (category, event, field)) in words.iter_mut().zip(Formats::FIELDS) {
        let path = tracefs.join("events").join(category).join(event).join("format");
        let text = fs::read_to_string(path).unwrap_or_default();
        *word = format_offset(&text, field).unwrap_or(UNSET);
    }
    Formats::from_words(words)
}

/// Reads `field:unsigned long anon_rss; offset:16; size:8; signed:0;`.
fn format_offset(text: &str, field: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut parts = line.trim().strip_prefix("field:")?.split(';').map(str::trim);
        let name = parts.next()?.rsplit([' ', '*']).next()?.split('[').next()?;
        let is_it = name.replace('-', "_") == field.replace('-', "_");
        let offset = parts.find_map(|part| part.strip_prefix("offset:"))?;
        if is_it { offset.parse().ok() } else { None }
    })
}

/// Fills in what the probes must know of this kernel's ways.
pub(crate) fn describe(btf: Option<&Btf>, settings: &mut Settings) {
    settings.page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
    let Some(btf) = btf else { return };
    let subsystem = btf.enumerator("memory_cgrp_id");
    settings.memory_subsys = subsystem.and_then(|it| u64::try_from(it).ok()).unwrap_or(u64::MAX);
    // Since 6.2 each counter of a process's memory is kept per processor.
    let is_plain = btf.offset("mm_struct", &["rss_stat", "count"]).is_some();
    let counter = btf.size("percpu_counter").filter(|_| !is_plain);
    settings.rss_stride = counter.map_or(8, u64::from);
    settings.victim_is_task = u64::from(btf.takes("mark_victim", "task_struct"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_format_files() {
        let text = "name: mark_victim\nID: 300\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:__data_loc char[] comm;\toffset:12;\tsize:4;\tsigned:0;\n\
            \tfield:unsigned long anon_rss;\toffset:24;\tsize:8;\tsigned:0;\n\
            \tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;\n\
            \tfield:const void * skaddr;\toffset:40;\tsize:8;\tsigned:0;\n\
            \tfield:void *skb;\toffset:48;\tsize:8;\tsigned:0;\n";
        let cases = [
            ("pid", Some(8)),
            ("comm", Some(12)),
            ("anon-rss", Some(24)),
            ("saddr", Some(32)),
            ("skaddr", Some(40)),
            ("skb", Some(48)),
            ("nothing", None),
        ];
        for (field, want) in cases {
            assert_eq!(format_offset(text, field), want, "{field}");
        }
        assert_eq!(formats(Path::new("/nonexistent")), Formats::NONE);
    }

    #[test]
    fn this_kernel_has_what_the_probes_cannot_do_without() {
        let Ok(btf) = Btf::of_this_kernel() else { return };
        let offsets = offsets(&btf);
        for (name, word) in [
            ("task_tgid", offsets.task_tgid),
            ("task_comm", offsets.task_comm),
            ("kernfs_id", offsets.kernfs_id),
            ("net_inum", offsets.net_inum),
            ("sock_daddr", offsets.sock_daddr),
            ("skb_head", offsets.skb_head),
        ] {
            assert_ne!(word, UNSET, "{name}");
        }
        let mut settings = Settings::DEFAULT;
        describe(Some(&btf), &mut settings);
        assert_ne!(settings.memory_subsys, u64::MAX);
        assert!(settings.rss_stride >= 8);
    }
}
