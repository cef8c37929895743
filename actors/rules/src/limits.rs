//! Every bound of rules, by name.

use std::time::Duration;

/// Bounds of rules. They are constants: a rule that is good on one machine is good on all.
#[derive(Debug, Clone, Copy)]
pub struct Limits;

impl Limits {
    /// Bytes a file may have.
    pub const FILE_BYTES_MAX: u64 = 64 << 10;
    /// Rules a directory may hold.
    pub const RULES_MAX: usize = 256;
    /// Steps a rule may have.
    pub const STEPS_MAX: usize = 16;
    /// Scenes a rule may bring.
    pub const SCENES_MAX: usize = 64;
    /// Letters a condition may have.
    pub const CONDITION_CHARS_MAX: usize = 1_024;
    /// Operations one look of a condition at one event may take.
    pub const CONDITION_COST_MAX: usize = 512;
    /// Operations that one look of a rule at one trace may take: some 0.1 s. What is left over is taken
    /// for false, and counted as failures.
    pub const LOOK_COST_MAX: usize = 1 << 18;
    /// Brackets in brackets that a condition may have. The parser takes some 150 KiB of stack for each
    /// where nothing is optimised, and threads have 2 MiB.
    pub const CONDITION_BRACKETS_MAX: u16 = 8;
    /// Operations in operations that a condition may have: `1 + 2 + 3` are two.
    pub const CONDITION_DEPTH_MAX: usize = 48;
    /// Bytes a compiled regular expression may take.
    pub const REGEX_BYTES_MAX: usize = 256 << 10;
    /// Letters of a text for people.
    pub const TEXT_CHARS_MAX: usize = 4_096;
    /// Letters of a line of a story, once its placeholders are filled in.
    pub const LINE_CHARS_MAX: usize = 512;
    /// How far a step may be from the first one. Only evidence that is cited stays that long.
    pub const WITHIN_MAX: Duration = Duration::from_secs(3_600);
    /// Things that one rule tells of in one trace.
    pub const SUBJECTS_MAX: usize = 64;
    /// Events of one step that a finding cites, the first ones: nobody reads more, and a step that
    /// goes on for hours would leave no room for the others.
    pub const CITED_MAX: usize = 64;
    /// How often an event may be asked for.
    pub const AT_LEAST_MAX: u32 = 4_096;
    /// Bytes of names that all rules of a process may leave behind: see the module `kept`.
    pub const KEPT_BYTES_MAX: usize = 1 << 20;
}
