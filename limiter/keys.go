package limiter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// On whose behalf a call is made, and which part of that a limit counts by.

// Dimension is one part of a key: whom a limit counts.
type Dimension uint8

// The dimensions of a key. A limit without any counts all calls together.
const (
	Account Dimension = iota
	App
	Tenant
	Host
	IP
	Device
	Operation
	dimensions // how many there are
)

var dimensionNames = [dimensions]string{"account", "app", "tenant", "host", "ip", "device", "operation"}

// String is the dimension's name in a policy file.
func (d Dimension) String() string {
	if d < dimensions {
		return dimensionNames[d]
	}
	if name, ok := d.factName(); ok {
		return name
	}
	return fmt.Sprintf("dimension(%d)", uint8(d))
}

// ParseDimension is the inverse of [Dimension.String], but for facts: see
// [FactDimension].
func ParseDimension(s string) (Dimension, bool) {
	for i, n := range dimensionNames {
		if n == s {
			return Dimension(i), true
		}
	}
	return 0, false
}

// Keys says on whose behalf a call is made. A part that is not known is "",
// which is a key like any other: all calls without an account share one.
type Keys struct {
	Account, App, Tenant, Host, IP, Device, Operation string

	// Facts are facts of the policy's own, as [FactKeys] writes them. One that is not
	// there is "".
	Facts string
}

// Get returns the part of the key that d names.
func (k *Keys) Get(d Dimension) string {
	switch d {
	case Account:
		return k.Account
	case App:
		return k.App
	case Tenant:
		return k.Tenant
	case Host:
		return k.Host
	case IP:
		return k.IP
	case Device:
		return k.Device
	case Operation:
		return k.Operation
	}
	if name, ok := d.factName(); ok {
		return k.Fact(name)
	}
	return ""
}

func (k *Keys) set(d Dimension, s string) {
	switch d {
	case Account:
		k.Account = s
	case App:
		k.App = s
	case Tenant:
		k.Tenant = s
	case Host:
		k.Host = s
	case IP:
		k.IP = s
	case Device:
		k.Device = s
	case Operation:
		k.Operation = s
	default:
		if name, ok := d.factName(); ok {
			k.setFact(name, s)
		}
	}
}

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
