// Package browsertest is tests only: it opens the pages that Recourse makes, the debug page
// and the report of recourse simulate, in a real headless Chromium, and looks at them as a
// person would. It is a module of its own, so that nobody else compiles what drives the browser.
//
// The tests need Debian's chromium-headless-shell or chromium, and no network. Where neither
// is installed they are skipped, or fail where internal/testserver's Required is set, as in CI.
package browsertest
