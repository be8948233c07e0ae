//! One phone: what it shows, and what is stored for it while it is offline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::{Delivery, Platform};

/// Different collapse keys kept for one Android phone (Google's limit).
const MAX_COLLAPSE_KEYS: usize = 4;
/// Messages without a collapse key kept for one phone (Google's limit): one more, and all go.
const MAX_STORED: usize = 100;
/// Entries of one inbox; beyond it the oldest goes.
const MAX_SHOWN: usize = 1_000;

/// What kind of thing an inbox entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShownKind {
    /// A notification in the phone's tray.
    Notification,
    /// Data that only the app gets; nobody sees it.
    Data,
    /// The app is told that stored messages were thrown away (Android's `onDeletedMessages`): it
    /// has to fetch its state anew.
    DeletedMessages,
}

/// One entry of a phone's inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownNotification {
    /// The order of showing, over all phones.
    pub seq: u64,
    /// The token or FID.
    pub address: String,
    /// The phone's system.
    pub platform: Platform,
    /// What it is.
    pub kind: ShownKind,
    /// The title, as this platform shows it.
    pub title: Option<String>,
    /// The text, as this platform shows it.
    pub body: Option<String>,
    /// Android's `tag`, `apns-collapse-id`, or the web notification's `tag` (else its `Topic`):
    /// the next one under the same tag replaces it.
    pub tag: Option<String>,
    /// The data that comes with it.
    pub data: BTreeMap<String, String>,
    /// The last part of the name that the sender got; empty for [`ShownKind::DeletedMessages`].
    pub message_id: String,
    /// When FCM took it, by the emulator's clock.
    pub accepted_at: Timestamp,
    /// When the phone got it, by the emulator's clock.
    pub shown_at: Timestamp,
    /// How many earlier ones under this tag it has replaced, one after the other.
    pub replaced: u32,
}

/// What to change about a phone; what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhoneSettings {
    /// Whether it has a connection. Coming online delivers what is stored and still timely.
    pub online: Option<bool>,
    /// Its system; what it shows already stays as it is.
    pub platform: Option<Platform>,
    /// Whether the app is installed; when not, sends are answered 404 `UNREGISTERED`.
    pub installed: Option<bool>,
    /// The topics it subscribed to, without `/topics/`.
    pub topics: Option<BTreeSet<String>>,
}

/// A phone as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhoneView {
    /// The token or FID.
    pub address: String,
    /// Its system.
    pub platform: Platform,
    /// Whether it has a connection.
    pub online: bool,
    /// Whether the app is installed.
    pub installed: bool,
    /// The topics it subscribed to.
    pub topics: BTreeSet<String>,
    /// How many messages are stored for it and still timely.
    pub stored: usize,
    /// How many entries its inbox has.
    pub shown: usize,
}

/// When something happens, and the numbers that entries get.
pub(crate) struct Moment<'a> {
    /// The emulator's clock.
    pub(crate) now: Timestamp,
    /// The last number given out.
    pub(crate) seq: &'a AtomicU64,
}

impl Moment<'_> {
    fn next_seq(&self) -> u64 {
        self.seq.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One phone.
#[derive(Debug)]
pub(crate) struct Phone {
    address: String,
    pub(crate) platform: Platform,
    pub(crate) online: bool,
    pub(crate) installed: bool,
    pub(crate) topics: BTreeSet<String>,
    shown: Vec<ShownNotification>,
    stored: Vec<Delivery>,
    overflowed: bool,
}

impl Phone {
    /// A phone that is online, with the app installed and nothing to show.
    pub(crate) fn new(address: &str, platform: Platform) -> Self {
        Self {
            address: address.to_owned(),
            platform,
            online: true,
            installed: true,
            topics: BTreeSet::new(),
            shown: Vec::new(),
            stored: Vec::new(),
            overflowed: false,
        }
    }

    /// What it shows, oldest first.
    pub(crate) fn shown(&self) -> &[ShownNotification] {
        &self.shown
    }

    /// The user swipes everything away.
    pub(crate) fn dismiss_all(&mut self) {
        self.shown.clear();
    }

    /// The phone as it stands at `now`.
    pub(crate) fn view(&mut self, now: Timestamp) -> PhoneView {
        self.drop_expired(now);
        PhoneView {
            address: self.address.clone(),
            platform: self.platform,
            online: self.online,
            installed: self.installed,
            topics: self.topics.clone(),
            stored: self.stored.len(),
            shown: self.shown.len(),
        }
    }

    /// Takes a message: shows it, or has it stored. Returns what is newly shown.
    pub(crate) fn take(
        &mut self,
        delivery: Delivery,
        at: &Moment<'_>,
    ) -> Option<ShownNotification> {
        if self.installed && self.online {
            return Some(self.show(delivery, at));
        }
        if self.installed && delivery.keep_until.is_some() {
            self.drop_expired(at.now);
            self.store(delivery);
        }
        None
    }

    /// Comes online: shows what was stored and is still timely.
    pub(crate) fn reconnect(&mut self, at: &Moment<'_>) -> Vec<ShownNotification> {
        self.online = true;
        self.drop_expired(at.now);
        let mut shown = Vec::new();
        if std::mem::take(&mut self.overflowed) {
            shown.push(self.tell_deleted(at));
        }
        for delivery in std::mem::take(&mut self.stored) {
            shown.push(self.show(delivery, at));
        }
        shown
    }

    /// The app is removed: what is stored and shown goes with it.
    pub(crate) fn uninstall(&mut self) {
        self.installed = false;
        self.overflowed = false;
        self.stored.clear();
        self.shown.clear();
    }

    fn drop_expired(&mut self, now: Timestamp) {
        self.stored.retain(|delivery| delivery.keep_until.is_some_and(|until| until > now));
    }

    fn store(&mut self, delivery: Delivery) {
        match self.platform {
            // APNs keeps the last notification of an app, whatever its collapse id.
            Platform::Ios => self.stored.clear(),
            Platform::Android | Platform::Web => {
                let key = &delivery.collapse_key;
                self.stored.retain(|kept| kept.collapse_key.is_none() || kept.collapse_key != *key);
            }
        }
        self.stored.push(delivery);
        if self.platform == Platform::Android {
            self.keep_android_limits();
        }
    }

    /// Google keeps "four keys, with no guarantee which ones"; here the oldest goes.
    fn keep_android_limits(&mut self) {
        let collapsible = |kept: &Delivery| kept.collapse_key.is_some();
        if self.stored.iter().filter(|kept| collapsible(kept)).count() > MAX_COLLAPSE_KEYS
            && let Some(oldest) = self.stored.iter().position(collapsible)
        {
            self.stored.remove(oldest);
        }
        if self.stored.iter().filter(|kept| !collapsible(kept)).count() > MAX_STORED {
            self.stored.retain(collapsible);
            self.overflowed = true;
        }
    }

    fn show(&mut self, delivery: Delivery, at: &Moment<'_>) -> ShownNotification {
        let visible = delivery.visible;
        let replaced = match &delivery.tag {
            Some(tag) if visible => self.remove_tagged(tag).map_or(0, |old| old.replaced + 1),
            _ => 0,
        };
        self.keep(ShownNotification {
            seq: at.next_seq(),
            address: self.address.clone(),
            platform: delivery.platform,
            kind: if visible { ShownKind::Notification } else { ShownKind::Data },
            title: delivery.title,
            body: delivery.body,
            tag: delivery.tag,
            data: delivery.data,
            message_id: delivery.message_id,
            accepted_at: delivery.accepted_at,
            shown_at: at.now,
            replaced,
        })
    }

    fn remove_tagged(&mut self, tag: &str) -> Option<ShownNotification> {
        let tagged = |old: &ShownNotification| {
            old.kind == ShownKind::Notification && old.tag.as_deref() == Some(tag)
        };
        let old = self.shown.iter().position(tagged)?;
        Some(self.shown.remove(old))
    }

    fn tell_deleted(&mut self, at: &Moment<'_>) -> ShownNotification {
        self.keep(ShownNotification {
            seq: at.next_seq(),
            address: self.address.clone(),
            platform: self.platform,
            kind: ShownKind::DeletedMessages,
            title: None,
            body: None,
            tag: None,
            data: BTreeMap::new(),
            message_id: String::new(),
            accepted_at: at.now,
            shown_at: at.now,
            replaced: 0,
        })
    }

    fn keep(&mut self, shown: ShownNotification) -> ShownNotification {
        if self.shown.len() >= MAX_SHOWN {
            self.shown.remove(0);
        }
        self.shown.push(shown.clone());
        shown
    }
}
