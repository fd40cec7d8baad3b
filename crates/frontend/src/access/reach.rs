//! Which keys a command reads and writes.

use bitroster_command::{Command, ReadCommand, SessionCommand, WriteCommand};
use bitroster_types::Key;

/// The keys of a command.
pub(super) struct Reach<'a> {
    /// Each key, and whether it is read; it is written otherwise.
    pub(super) keys: Vec<(&'a Key, bool)>,
    /// Whether it may touch any key.
    pub(super) is_everywhere: bool,
}

pub(super) fn reach(command: &Command) -> Reach<'_> {
    let mut reach = Reach { keys: Vec::new(), is_everywhere: false };
    match command {
        Command::Session(SessionCommand::Watch { keys }) => {
            reach.keys.extend(keys.iter().map(|key| (key, true)));
        }
        Command::Session(_) => {}
        Command::Read(command) => reach.read(command),
        Command::Write(command) => reach.write(command),
        Command::Composite(_) => reach.is_everywhere = true,
    }
    reach
}

impl<'a> Reach<'a> {
    fn read(&mut self, command: &'a ReadCommand) {
        use ReadCommand as R;
        match command {
            R::GetBit { key, .. }
            | R::BitCount { key, .. }
            | R::BitPos { key, .. }
            | R::BitFieldRo { key, .. }
            | R::Get { key }
            | R::StrLen { key }
            | R::GetRange { key, .. }
            | R::Type { key }
            | R::Ttl { key, .. } => self.keys.push((key, true)),
            R::BitOpCard { sources: keys, .. } | R::MGet { keys } | R::Exists { keys } => {
                self.keys.extend(keys.iter().map(|key| (key, true)));
            }
            R::FindIds { space, .. } | R::FindNames { space, .. } | R::SpaceInfo { space } => {
                self.keys.push((space, true));
            }
            R::Scan { .. } | R::Keys { .. } | R::DbSize | R::RandomKey | R::Spaces => {}
        }
    }

    fn write(&mut self, command: &'a WriteCommand) {
        use WriteCommand as W;
        match command {
            W::SetBit { key, .. }
            | W::BitField { key, .. }
            | W::Set { key, .. }
            | W::GetDel { key }
            | W::GetEx { key, .. }
            | W::Append { key, .. }
            | W::SetRange { key, .. }
            | W::IncrBy { key, .. }
            | W::Expire { key, .. }
            | W::Persist { key }
            | W::Merge { key, .. }
            | W::Restore { key, .. }
            | W::Touch { key, .. }
            | W::AssignIds { space: key, .. }
            | W::DropSpace { space: key } => self.keys.push((key, false)),
            W::BitOp { target, sources, .. } => {
                self.keys.push((target, false));
                self.keys.extend(sources.iter().map(|key| (key, true)));
            }
            W::MSet { pairs, .. } => self.keys.extend(pairs.iter().map(|(key, _)| (key, false))),
            W::Delete { keys } => self.keys.extend(keys.iter().map(|key| (key, false))),
            W::Rename { source, target, .. } => {
                self.keys.extend([(source, true), (source, false), (target, false)]);
            }
            W::Copy { source, target, .. } => self.keys.extend([(source, true), (target, false)]),
            W::Flush => {}
        }
    }
}
