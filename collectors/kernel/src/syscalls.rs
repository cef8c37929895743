//! System calls by number: names, and which of them write to filesystems.

/// What a system call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Writes to a filesystem, or makes room in it.
    Store,
    /// Reads from whatever a descriptor is: a terminal that is gone answers EIO.
    Read,
    /// Makes a process or thread.
    Fork,
    /// Makes a connection.
    Connect,
    /// Sends or receives.
    Traffic,
    /// Watches a file.
    Watch,
    /// Any other.
    Other,
}

/// Returns the name and purpose of a system call of this machine.
pub(crate) fn syscall(number: u32) -> Option<(&'static str, Purpose)> {
    TABLE.iter().find_map(|(known, name, purpose)| (*known == number).then_some((*name, *purpose)))
}

use Purpose::{Connect, Fork, Other, Read, Store, Traffic, Watch};

#[cfg(not(target_arch = "aarch64"))]
const TABLE: &[(u32, &str, Purpose)] = &[
    (0, "read", Read),
    (1, "write", Store),
    (2, "open", Store),
    (3, "close", Store),
    (16, "ioctl", Other),
    (17, "pread64", Other),
    (18, "pwrite64", Store),
    (19, "readv", Read),
    (20, "writev", Store),
    (26, "msync", Store),
    (40, "sendfile", Store),
    (42, "connect", Connect),
    (43, "accept", Other),
    (44, "sendto", Traffic),
    (45, "recvfrom", Traffic),
    (46, "sendmsg", Traffic),
    (47, "recvmsg", Traffic),
    (49, "bind", Other),
    (56, "clone", Fork),
    (57, "fork", Fork),
    (58, "vfork", Fork),
    (59, "execve", Other),
    (74, "fsync", Store),
    (75, "fdatasync", Store),
    (76, "truncate", Store),
    (77, "ftruncate", Store),
    (82, "rename", Store),
    (83, "mkdir", Store),
    (85, "creat", Store),
    (86, "link", Store),
    (87, "unlink", Store),
    (88, "symlink", Store),
    (90, "chmod", Store),
    (165, "mount", Other),
    (188, "setxattr", Store),
    (209, "io_submit", Store),
    (253, "inotify_init", Watch),
    (254, "inotify_add_watch", Watch),
    (257, "openat", Store),
    (258, "mkdirat", Store),
    (259, "mknodat", Store),
    (263, "unlinkat", Store),
    (264, "renameat", Store),
    (265, "linkat", Store),
    (266, "symlinkat", Store),
    (275, "splice", Store),
    (280, "utimensat", Store),
    (285, "fallocate", Store),
    (288, "accept4", Other),
    (294, "inotify_init1", Watch),
    (296, "pwritev", Store),
    (316, "renameat2", Store),
    (322, "execveat", Other),
    (326, "copy_file_range", Store),
    (328, "pwritev2", Store),
    (435, "clone3", Fork),
    (437, "openat2", Store),
];

#[cfg(target_arch = "aarch64")]
const TABLE: &[(u32, &str, Purpose)] = &[
    (2, "io_submit", Store),
    (5, "setxattr", Store),
    (26, "inotify_init1", Watch),
    (27, "inotify_add_watch", Watch),
    (29, "ioctl", Other),
    (33, "mknodat", Store),
    (34, "mkdirat", Store),
    (35, "unlinkat", Store),
    (36, "symlinkat", Store),
    (37, "linkat", Store),
    (38, "renameat", Store),
    (40, "mount", Other),
    (45, "truncate", Store),
    (46, "ftruncate", Store),
    (47, "fallocate", Store),
    (53, "fchmodat", Store),
    (56, "openat", Store),
    (57, "close", Store),
    (63, "read", Read),
    (64, "write", Store),
    (65, "readv", Read),
    (66, "writev", Store),
    (67, "pread64", Other),
    (68, "pwrite64", Store),
    (70, "pwritev", Store),
    (71, "sendfile", Store),
    (76, "splice", Store),
    (82, "fsync", Store),
    (83, "fdatasync", Store),
    (88, "utimensat", Store),
    (200, "bind", Other),
    (202, "accept", Other),
    (203, "connect", Connect),
    (206, "sendto", Traffic),
    (207, "recvfrom", Traffic),
    (211, "sendmsg", Traffic),
    (212, "recvmsg", Traffic),
    (220, "clone", Fork),
    (221, "execve", Other),
    (227, "msync", Store),
    (242, "accept4", Other),
    (276, "renameat2", Store),
    (281, "execveat", Other),
    (285, "copy_file_range", Store),
    (287, "pwritev2", Store),
    (435, "clone3", Fork),
    (437, "openat2", Store),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_listed_once_and_in_order() {
        assert!(TABLE.is_sorted_by(|(one, ..), (next, ..)| one < next));
        assert_eq!(syscall(435), Some(("clone3", Fork)));
        assert_eq!(syscall(511), None);
    }

    #[test]
    fn to_watch_a_file_is_told_from_to_open_one() {
        // The errno of all descriptors used up and that of all watchers are one.
        for call in ["inotify_init1", "inotify_add_watch"] {
            let found = TABLE.iter().find(|(_, name, _)| *name == call);
            assert_eq!(found.map(|(.., purpose)| *purpose), Some(Watch), "{call}");
        }
    }
}
