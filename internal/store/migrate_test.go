package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// schema1 is a store that the first released version wrote; WRITE_TESTDATA=1 writes it anew, before a release only.
const schema1 = "testdata/schema-1.db"

func copyOf(t *testing.T, from string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func dumpOf(t *testing.T, path string) string {
	t.Helper()
	var out bytes.Buffer
	if err := DumpFile(path, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWriteTestdata(t *testing.T) {
	if os.Getenv("WRITE_TESTDATA") == "" {
		t.Skip("WRITE_TESTDATA is not set")
	}
	path := filepath.Join(t.TempDir(), "store.db")
	e, err := OpenBolt(path, Options{NoBackup: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, ops := range [][]Op{
		{{Key: "/profiles/default/default", Value: []byte(`{"name":"default"}`)}},
		{{Key: "/instances/default/web", Value: []byte(`{"name":"web"}`)}, {Key: "/instances/default/db", Value: []byte(`{"name":"db"}`)}},
	} {
		if _, err := e.Commit(t.Context(), ops); err != nil {
			t.Fatal(err)
		}
	}
	_ = e.Close()
	if err := BackupFile(path, schema1); err != nil {
		t.Fatal(err)
	}
}

func TestOpensWhatEveryVersionWrote(t *testing.T) {
	path := copyOf(t, schema1)
	e, err := OpenBolt(path, Options{NoBackup: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	entries, _, err := List(t.Context(), e, "/")
	if err != nil || len(entries) != 3 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestMigration(t *testing.T) {
	path := copyOf(t, schema1)
	steps := map[int]Migration{
		1: func(m *Migrator) error {
			return m.Each("/instances/", func(e Entry) error {
				if err := m.Delete(e.Key); err != nil {
					return err
				}
				return m.Put(strings.Replace(e.Key, "/instances/", "/guests/", 1), e.Value)
			})
		},
		2: func(m *Migrator) error { return m.Put("/note", []byte(`"migrated"`)) },
	}
	e, err := OpenBolt(path, Options{NoBackup: true, schema: 3, migrations: steps})
	if err != nil {
		t.Fatal(err)
	}
	_ = e.Close()
	want := `{"schema":3,"revision":3}
{"key":"/guests/default/db","revision":3,"value":{"name":"db"}}
{"key":"/guests/default/web","revision":3,"value":{"name":"web"}}
{"key":"/note","revision":3,"value":"migrated"}
{"key":"/profiles/default/default","revision":1,"value":{"name":"default"}}
`
	if got := dumpOf(t, path); got != want {
		t.Errorf("after: %s", got)
	}
	if got := dumpOf(t, path+".schema-1"); got != dumpOf(t, schema1) {
		t.Errorf("kept: %s", got)
	}
	_, err = OpenBolt(path, Options{})
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "schema 3") {
		t.Errorf("an older program: %v", err)
	}
	if err := RestoreFile(path, copyOf(t, schema1)); !errors.Is(err, ErrNewer) {
		t.Errorf("restore of a newer backup: %v", err)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	path := copyOf(t, schema1)
	steps := map[int]Migration{
		1: func(m *Migrator) error { return m.Put("/half", []byte(`1`)) },
		2: func(*Migrator) error { return errors.New("no") },
	}
	for range 2 {
		if _, err := OpenBolt(path, Options{NoBackup: true, schema: 3, migrations: steps}); err == nil {
			t.Fatal("it opened")
		}
	}
	if got := dumpOf(t, path); got != dumpOf(t, schema1) {
		t.Errorf("after: %s", got)
	}
}
