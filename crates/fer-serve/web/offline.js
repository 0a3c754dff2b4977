// Keeps the page's files, so that it opens without the service and says that it is away. Requests
// for pictures are never kept.
const KEPT = "fer-page";
const FILES = ["/", "/page.js", "/page.css", "/icon.svg"];

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(KEPT)
      .then((kept) => kept.addAll(FILES))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (
    event.request.method !== "GET" ||
    url.origin !== location.origin ||
    !FILES.includes(url.pathname)
  ) {
    return;
  }
  event.respondWith(
    fetch(event.request).then(
      (response) => {
        if (response.ok) {
          const copy = response.clone();
          event.waitUntil(caches.open(KEPT).then((kept) => kept.put(url.pathname, copy)));
        }
        return response;
      },
      () => caches.match(url.pathname),
    ),
  );
});
