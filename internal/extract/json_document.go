package extract

import "strings"

// maxDepth bounds the nesting of JSON that is read.
const maxDepth = 512

// JSON is a body that can be read as JSON, in whole or in part.
//
// Policies ask for a dozen paths or more. Most of them are not in the document,
// and most of the others begin alike. So Read, which passes through the document
// once, notes the members of the outermost object and the members of those.
type JSON struct {
	text    string // the part that can be read; "" = none
	members [maxMembers]member
	n       int    // how many of members are in use
	noted   bool   // members holds all members of the first two levels
	cut     bool   // the body goes on after text, but cannot be read
	keys    keySet // the keys of all objects, at any depth
}

// keySet is a set of keys, kept by their hashes (a Bloom filter): a key that is not
// in the set is in no object, while one that is in it may still be in none.
type keySet uint64

const allKeys = ^keySet(0)

func keySetOf(key string) keySet {
	n := len(key)
	if n == 0 {
		return 1
	}
	h := uint32(n) ^ uint32(key[0])<<8 ^ uint32(key[n/2])<<16 ^ uint32(key[n-1])<<24
	return 1 << (h * 0x9e3779b1 >> 26)
}

const maxMembers = 24

// member is one member of an object: text[start:end] is its value.
type member struct {
	in         int // index of the member whose value holds this one; -1 = it is in the outermost object
	key        string
	start, end int
}

// note records the key of the member whose value comes next, if it stands on one of
// the first two levels.
func (d *JSON) note(key string, open []byte, cur *[3]int) {
	n := len(open)
	if n > 2 || n == 2 && open[0] != '}' {
		return
	}
	cur[n] = -1
	if n == 2 && cur[1] < 0 {
		return
	}
	if d.n == maxMembers || strings.IndexByte(key, '\\') >= 0 {
		d.noted = false
		return
	}
	in := -1
	if n == 2 {
		in = cur[1]
	}
	d.members[d.n] = member{in: in, key: key}
	cur[n] = d.n
	d.n++
}

// find returns the index of the first member with that key inside the member in, or
// -1 if there is none.
func (d *JSON) find(in int, key string) int {
	for i := 0; i < d.n; i++ {
		if m := &d.members[i]; m.in == in && m.key == key {
			return i
		}
	}
	return -1
}

// Text returns the part that can be read; "" = none.
func (d *JSON) Text() string { return d.text }

// Cut reports whether the body goes on after Text, but cannot be read.
func (d *JSON) Cut() bool { return d.cut }

// Lacks reports whether d is certainly no object with a member of that key.
func (d *JSON) Lacks(key string) bool {
	return d.text == "" || d.text[0] != '{' || d.noted && d.find(-1, key) < 0
}
