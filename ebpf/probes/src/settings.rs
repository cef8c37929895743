//! The globals that user space sets before the object is loaded.
//!
//! They lie in read-only data: the verifier knows their values and drops the branches that they rule
//! out, so an unknown offset costs nothing at run time. Volatile reads keep the compiler from taking
//! the values here for final.

use tapio_ebpf_abi::{Formats, Offsets, Settings};

#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings::DEFAULT;
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::NONE;
#[unsafe(no_mangle)]
static FORMATS: Formats = Formats::NONE;

/// Reads a field of a static as user space set it.
pub(crate) fn load<T: Copy>(field: &'static T) -> T {
    // SAFETY: a reference to a static is valid for reads.
    unsafe { core::ptr::read_volatile(field) }
}

pub(crate) const fn settings() -> &'static Settings {
    &SETTINGS
}

pub(crate) const fn offsets() -> &'static Offsets {
    &OFFSETS
}

pub(crate) const fn formats() -> &'static Formats {
    &FORMATS
}

/// Reads a setting.
macro_rules! setting {
    ($name:ident) => {
        $crate::settings::load(&$crate::settings::settings().$name)
    };
}

/// Reads a field of a kernel structure: `field!(address, name of the offset)`, `None` when its offset
/// is not known or the memory cannot be read.
macro_rules! field {
    ($base:expr, $name:ident) => {
        $crate::kernel::read($base, $crate::settings::load(&$crate::settings::offsets().$name))
    };
}

/// Reads a field of a classic tracepoint.
macro_rules! format_field {
    ($fields:expr, $name:ident) => {
        $fields.get($crate::settings::load(&$crate::settings::formats().$name))
    };
}

pub(crate) use {field, format_field, setting};
