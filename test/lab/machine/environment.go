package machine

import (
	"fmt"
	"os"
	"strconv"
)

// Environment is the configuration that $LAB_DIR, $LAB_MEMORY and $LAB_CPUS give, or what they are without; docs/lab.md says what they mean.
func Environment(tree string) (Config, error) {
	c := Config{Dir: os.Getenv("LAB_DIR"), Tree: tree}
	if c.Dir == "" {
		c.Dir = "/var/cache/berth/lab"
	}
	for _, n := range []struct {
		name  string
		value *int
		def   string
	}{{"LAB_MEMORY", &c.Memory, "1536"}, {"LAB_CPUS", &c.CPUs, "2"}} {
		text := os.Getenv(n.name)
		if text == "" {
			text = n.def
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < 1 {
			return c, fmt.Errorf("%s=%q is not a positive number", n.name, text)
		}
		*n.value = v
	}
	return c, nil
}
