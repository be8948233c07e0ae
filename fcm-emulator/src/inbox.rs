//! All phones: each address's inbox, and the live stream of what they show.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aftercare::clock::Clock;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::delivery::{Delivery, Platform};
use crate::phone::{Moment, Phone, PhoneSettings, PhoneView, ShownNotification};

/// Locks that the phones are spread over, so that sends to different phones seldom wait.
const SHARDS: usize = 32;
/// Entries a slow reader of the stream may lag behind before it misses some.
const STREAM_BUFFER: usize = 4_096;

type Shard = Mutex<HashMap<String, Phone>>;

/// Every phone the emulator knows. A phone is known from the first time it is named.
pub(crate) struct Phones {
    shards: Vec<Shard>,
    seq: AtomicU64,
    live: broadcast::Sender<Arc<ShownNotification>>,
    default_platform: Platform,
    clock: Arc<dyn Clock>,
}

impl Phones {
    /// No phones yet; an unknown one is taken to run `default_platform`.
    pub(crate) fn new(default_platform: Platform, clock: Arc<dyn Clock>) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        let (live, _) = broadcast::channel(STREAM_BUFFER);
        Self { shards, seq: AtomicU64::new(0), live, default_platform, clock }
    }

    /// Gives an accepted message to one phone.
    pub(crate) fn deliver(&self, address: &str, message: &Value, id: &str, accepted_at: Timestamp) {
        self.with(address, |phone| self.hand_over(phone, message, id, accepted_at));
    }

    /// Gives an accepted message to every phone whose topics meet `wanted`.
    pub(crate) fn broadcast(
        &self,
        wanted: impl Fn(&BTreeSet<String>) -> bool,
        message: &Value,
        id: &str,
        accepted_at: Timestamp,
    ) {
        self.each(|phone| {
            if wanted(&phone.topics) {
                self.hand_over(phone, message, id, accepted_at);
            }
        });
    }

    /// Whether the app is known to be gone from the phone.
    pub(crate) fn is_uninstalled(&self, address: &str) -> bool {
        let phones = lock(self.shard(address));
        phones.get(address).is_some_and(|phone| !phone.installed)
    }

    /// Changes a phone, which is made if unknown, and says how it stands then.
    pub(crate) fn set(&self, address: &str, settings: PhoneSettings) -> PhoneView {
        let at = self.moment();
        self.with(address, |phone| {
            phone.platform = settings.platform.unwrap_or(phone.platform);
            if let Some(topics) = settings.topics {
                phone.topics = topics;
            }
            match settings.installed {
                Some(true) => phone.installed = true,
                Some(false) => phone.uninstall(),
                None => {}
            }
            match settings.online {
                Some(true) => phone.reconnect(&at).into_iter().for_each(|shown| self.tell(shown)),
                Some(false) => phone.online = false,
                None => {}
            }
            phone.view(at.now)
        })
    }

    /// A phone as it stands; none when it was never named.
    pub(crate) fn view(&self, address: &str) -> Option<PhoneView> {
        let now = self.clock.now();
        lock(self.shard(address)).get_mut(address).map(|phone| phone.view(now))
    }

    /// Every phone as it stands, by address.
    pub(crate) fn views(&self) -> Vec<PhoneView> {
        let now = self.clock.now();
        let mut views = Vec::new();
        self.each(|phone| views.push(phone.view(now)));
        views.sort_by(|a, b| a.address.cmp(&b.address));
        views
    }

    /// What one phone shows, oldest first; nothing when it was never named.
    pub(crate) fn inbox(&self, address: &str) -> Vec<ShownNotification> {
        let phones = lock(self.shard(address));
        phones.get(address).map(|phone| phone.shown().to_vec()).unwrap_or_default()
    }

    /// What all phones show, oldest first.
    pub(crate) fn inboxes(&self) -> Vec<ShownNotification> {
        let mut shown = Vec::new();
        self.each(|phone| shown.extend_from_slice(phone.shown()));
        shown.sort_by_key(|entry| entry.seq);
        shown
    }

    /// Empties one phone's inbox, as its user would.
    pub(crate) fn dismiss(&self, address: &str) {
        if let Some(phone) = lock(self.shard(address)).get_mut(address) {
            phone.dismiss_all();
        }
    }

    /// Empties every inbox.
    pub(crate) fn dismiss_all(&self) {
        self.each(Phone::dismiss_all);
    }

    /// Forgets one phone, its settings and its inbox; false when it was never named.
    pub(crate) fn forget(&self, address: &str) -> bool {
        lock(self.shard(address)).remove(address).is_some()
    }

    /// Forgets every phone.
    pub(crate) fn forget_all(&self) {
        for shard in &self.shards {
            lock(shard).clear();
        }
    }

    /// What is shown from now on, on any phone.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<ShownNotification>> {
        self.live.subscribe()
    }

    fn hand_over(&self, phone: &mut Phone, message: &Value, id: &str, accepted_at: Timestamp) {
        let delivery = Delivery::new(message, phone.platform, id, accepted_at);
        if let Some(shown) = phone.take(delivery, &self.moment()) {
            self.tell(shown);
        }
    }

    /// Told under the phone's lock, so that each phone's entries come in their order.
    fn tell(&self, shown: ShownNotification) {
        // No receiver is the usual case, not a fault.
        let _ = self.live.send(Arc::new(shown));
    }

    fn moment(&self) -> Moment<'_> {
        Moment { now: self.clock.now(), seq: &self.seq }
    }

    fn with<T>(&self, address: &str, work: impl FnOnce(&mut Phone) -> T) -> T {
        let mut phones = lock(self.shard(address));
        if let Some(phone) = phones.get_mut(address) {
            return work(phone);
        }
        let new = Phone::new(address, self.default_platform);
        work(phones.entry(address.to_owned()).or_insert(new))
    }

    fn each(&self, mut work: impl FnMut(&mut Phone)) {
        for shard in &self.shards {
            lock(shard).values_mut().for_each(&mut work);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder by the length is always inside")]
    fn shard(&self, address: &str) -> &Shard {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0);
        &self.shards[index]
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, HashMap<String, Phone>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
