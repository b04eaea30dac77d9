package limiter

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Facts of a call as parts of its key: names of a policy's own, such as the
// project that a request's path speaks of.

// firstFact is where the dimensions of facts begin. Those below are built in.
const firstFact Dimension = 32

// factNames are the names of the dimensions from firstFact on. They are the
// process's, so that a dimension means one thing whatever is reloaded.
var (
	factNames   atomic.Pointer[[]string]
	factNamesMu sync.Mutex
)

// FactDimension is the dimension of a fact. It fails where the process has more
// than 200 of them.
func FactDimension(name string) (Dimension, error) {
	factNamesMu.Lock()
	defer factNamesMu.Unlock()
	names := knownFacts()
	at := slices.Index(names, name)
	if at < 0 {
		if len(names) == 200 {
			return 0, errors.New("limiter: more than 200 facts are keys")
		}
		at = len(names)
		names = append(slices.Clone(names), name)
		factNames.Store(&names)
	}
	return firstFact + Dimension(at), nil
}

func knownFacts() []string {
	if names := factNames.Load(); names != nil {
		return *names
	}
	return nil
}

// factName is the name of a fact's dimension; ok is false for all others.
func (d Dimension) factName() (name string, ok bool) {
	if d < firstFact {
		return "", false
	}
	names := knownFacts()
	if at := int(d - firstFact); at < len(names) {
		return names[at], true
	}
	return "", false
}

// known reports whether there is such a dimension.
func (d Dimension) known() bool {
	_, fact := d.factName()
	return d < dimensions || fact
}

// FactKeys puts facts into the form of [Keys.Facts].
func FactKeys(facts map[string]string) string {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		b = appendText(appendText(b, name), facts[name])
	}
	return string(b)
}

// Fact is the value of a fact among the keys; "" = it is not there.
func (k *Keys) Fact(name string) string {
	for rest := k.Facts; rest != ""; {
		var n, value string
		if n, rest = cutText(rest); rest == "" {
			break
		}
		if value, rest = cutText(rest); n == name {
			return value
		}
	}
	return ""
}

// setFact adds a fact, which is not there yet.
func (k *Keys) setFact(name, value string) {
	k.Facts += string(appendText(appendText(nil, name), value))
}

// appendText writes a text after its length.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cutText reads what appendText wrote; what is no such thing reads as the end.
func cutText(s string) (text, rest string) {
	var n uint64
	for i := 0; i < len(s) && i < 5; i++ {
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			if s = s[i+1:]; n > uint64(len(s)) {
				return "", ""
			}
			return s[:n], s[n:]
		}
	}
	return "", ""
}
