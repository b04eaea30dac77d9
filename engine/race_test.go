//go:build race

package engine

// raceEnabled says that the race detector, which allocates too, is on.
const raceEnabled = true
