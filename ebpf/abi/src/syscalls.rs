//! Which failures of which system calls are told.
//!
//! An errno alone says little: ETIMEDOUT of a `futex` and EAGAIN of a `read` are how programs wait.

/// One more than the largest errno that is looked at.
pub const ERRNO_COUNT: u32 = 134;
/// Words of a [`SyscallSet`].
pub const SYSCALL_WORDS: usize = 8;

/// System calls as a set of numbers below 512: a value of the map [`crate::maps::ERRNO_SYSCALLS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyscallSet(pub [u64; SYSCALL_WORDS]);

impl SyscallSet {
    /// No system call.
    pub const NONE: Self = Self([0; SYSCALL_WORDS]);
    /// Every system call.
    pub const ALL: Self = Self([u64::MAX; SYSCALL_WORDS]);

    /// Makes a set of the numbers below 512 among `numbers`.
    #[must_use]
    pub fn of(numbers: &[u32]) -> Self {
        let mut words = [0; SYSCALL_WORDS];
        for (index, word) in (0_u32..).zip(words.iter_mut()) {
            for number in numbers.iter().filter(|number| **number / 64 == index) {
                *word |= 1 << (number % 64);
            }
        }
        Self(words)
    }

    /// Returns what is in this set or in that one.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        self
    }

    /// Says whether a number is in the set.
    #[must_use]
    pub fn holds(&self, number: u32) -> bool {
        (0_u32..)
            .zip(self.0)
            .any(|(index, word)| number / 64 == index && word >> (number % 64) & 1 == 1)
    }
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    /// `clone`, `clone3`.
    pub(super) const FORK: &[u32] = &[220, 435];
    /// `connect`, `bind`.
    pub(super) const CONNECT: &[u32] = &[203, 200];
    /// `connect`, `sendto`, `recvfrom`, `sendmsg`, `recvmsg`, `read`, `write`, `readv`, `writev`.
    pub(super) const TRAFFIC: &[u32] = &[203, 206, 207, 211, 212, 63, 64, 65, 66];
    /// `openat`, `openat2`, `execve`, `execveat`, `mkdirat`, `unlinkat`, `renameat2`, `mount`, `bind`,
    /// `connect`.
    pub(super) const ACCESS: &[u32] = &[56, 437, 221, 281, 34, 35, 276, 40, 200, 203];
}

#[cfg(not(target_arch = "aarch64"))]
mod numbers {
    /// `clone`, `fork`, `vfork`, `clone3`.
    pub(super) const FORK: &[u32] = &[56, 57, 58, 435];
    /// `connect`, `bind`.
    pub(super) const CONNECT: &[u32] = &[42, 49];
    /// `connect`, `sendto`, `recvfrom`, `sendmsg`, `recvmsg`, `read`, `write`, `readv`, `writev`.
    pub(super) const TRAFFIC: &[u32] = &[42, 44, 45, 46, 47, 0, 1, 19, 20];
    /// `open`, `openat`, `openat2`, `creat`, `execve`, `execveat`, `mkdir`, `unlink`, `rename`,
    /// `mkdirat`, `unlinkat`, `renameat2`, `mount`, `bind`, `connect`.
    pub(super) const ACCESS: &[u32] =
        &[2, 257, 437, 85, 59, 322, 83, 87, 82, 258, 263, 316, 165, 49, 42];
}

/// Returns the errnos that are told by default, each with its system calls.
#[must_use]
pub fn watched() -> [(u32, SyscallSet); 11] {
    [
        (1, SyscallSet::of(numbers::ACCESS)),    // EPERM
        (5, SyscallSet::ALL),                    // EIO
        (11, SyscallSet::of(numbers::FORK)),     // EAGAIN: no more processes
        (13, SyscallSet::of(numbers::ACCESS)),   // EACCES
        (23, SyscallSet::ALL),                   // ENFILE
        (24, SyscallSet::ALL),                   // EMFILE
        (28, SyscallSet::ALL),                   // ENOSPC
        (30, SyscallSet::ALL),                   // EROFS
        (99, SyscallSet::of(numbers::CONNECT)),  // EADDRNOTAVAIL
        (110, SyscallSet::of(numbers::TRAFFIC)), // ETIMEDOUT
        (111, SyscallSet::of(numbers::TRAFFIC)), // ECONNREFUSED
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_it_was_made_of() {
        let set = SyscallSet::of(&[0, 63, 64, 511, 512]).or(SyscallSet::of(&[435]));
        for (number, is_in) in
            [(0, true), (63, true), (64, true), (435, true), (511, true), (1, false)]
        {
            assert_eq!(set.holds(number), is_in, "{number}");
        }
        assert!(!set.holds(512) && !SyscallSet::NONE.holds(0) && SyscallSet::ALL.holds(511));
    }

    #[test]
    fn waiting_is_no_failure() {
        // `read` and `futex` answer EAGAIN and ETIMEDOUT as a matter of course.
        #[cfg(not(target_arch = "aarch64"))]
        let (read, futex) = (0, 202);
        #[cfg(target_arch = "aarch64")]
        let (read, futex) = (63, 98);
        for (errno, number) in [(11, read), (11, futex), (110, futex)] {
            let set = watched().into_iter().find_map(|(of, set)| (of == errno).then_some(set));
            assert!(!set.unwrap().holds(number), "{errno} {number}");
        }
    }

    #[test]
    fn every_watched_errno_has_its_place_in_the_map() {
        for (errno, set) in watched() {
            assert!(errno < ERRNO_COUNT && set != SyscallSet::NONE, "{errno}");
        }
    }
}
