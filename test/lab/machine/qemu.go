package machine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const program = "qemu-system-x86_64"

// kernelArguments: with the tsc and mitigations settings the guest boots in half the time.
const kernelArguments = "console=ttyS0 quiet loglevel=4 panic=-1 net.ifnames=0 apparmor=1 security=apparmor " +
	"systemd.unified_cgroup_hierarchy=1 mitigations=off tsc=reliable no_timer_check random.trust_cpu=1"

// initArgument reaches the initrd's only program as a variable.
const initArgument = " lab_init="

// create makes what lasts as long as the machine: the ways in and out, and a disk on top of another.
func (m *Machine) create(ctx context.Context, disk string) error {
	// FIFOs instead of sockets: any number of processes can ask for jobs, and QEMU keeps both ends open.
	for _, name := range []string{"agent.in", "agent.out"} {
		if err := unix.Mkfifo(m.path(name), 0o600); err != nil {
			return err
		}
	}
	if out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, m.path("disk.qcow2")).CombinedOutput(); err != nil {
		return fmt.Errorf("qemu-img: %w: %s", err, out)
	}
	return nil
}

// boot starts QEMU and waits until the guest takes jobs; memory is a saved state, which does, or "".
func (m *Machine) boot(ctx context.Context, memory string) error {
	err := m.run(ctx, memory)
	if err == nil && memory == "" {
		err = m.awaitAgent(ctx)
	}
	return err
}

// run starts QEMU; memory is a saved state, or "" for a boot.
func (m *Machine) run(ctx context.Context, memory string) error {
	args := m.arguments()
	if memory != "" {
		args = append(args, "-incoming", "exec:zstd -qdc "+Quote(memory))
	}
	// On a host with ten times more to do than it has processors, the guest's clock interrupts can take all the time it gets; it then stands still.
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", "-5", program}, args...)...)
	// QEMU goes on in the background; a pipe that it inherited would keep us waiting.
	log, err := os.Create(m.path("qemu.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return m.explain(fmt.Errorf("%s: %w", program, err))
	}
	m.qemu, err = findProcess(m.path("pid"), m.path(""))
	if err != nil {
		return m.explain(err)
	}
	return nil
}

// arguments are the same for a boot and a restored machine, as they must be.
func (m *Machine) arguments() []string {
	share := func(id, path, more string) []string {
		return []string{
			"-fsdev", fmt.Sprintf("local,id=%s,path=%s,security_model=none%s", id, strings.ReplaceAll(path, ",", ",,"), more),
			"-device", fmt.Sprintf("virtio-9p-pci,fsdev=%s,mount_tag=%s", id, id),
		}
	}
	kernel := kernelArguments
	if m.Init != "" {
		kernel += initArgument + m.Init
	}
	args := []string{
		"-daemonize", "-pidfile", m.path("pid"), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35,accel=tcg,vmport=off,smm=off",
		// Five-level page tables cost time; with svm TCG would offer nested virtualisation, and /dev/kvm would appear.
		"-cpu", "max,la57=off,svm=off", "-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.Memory),
		"-kernel", m.Dir + "/vmlinuz", "-initrd", m.Dir + "/initrd", "-append", kernel,
		"-drive", "file=" + m.path("disk.qcow2") + ",if=virtio,format=qcow2,cache=unsafe,discard=unmap",
		"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
		"-chardev", "pipe,id=agent,path=" + m.path("agent"), "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,nr=1,name=lab",
		"-qmp", "unix:" + m.path("qmp") + ",server=on,wait=off",
		"-serial", "file:" + m.path("console"),
	}
	args = append(args, share("lab", m.Share(), "")...)
	return append(args, share("tree", m.Tree, ",readonly=on")...)
}

// awaitAgent waits until the guest says that it takes jobs.
func (m *Machine) awaitAgent(ctx context.Context) error {
	// Both ends: with one alone the file would end when QEMU does, instead of saying nothing.
	out, err := os.OpenFile(m.path("agent.out"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	said := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err == nil && line != "ready\n" {
			err = fmt.Errorf("the guest said %q", line)
		}
		said <- err
	}()
	select {
	case err := <-said:
		return err
	case <-m.qemu.done:
		err = errors.New("QEMU ended while the guest booted")
	case <-ctx.Done():
		err = fmt.Errorf("the guest does not answer: %w", context.Cause(ctx))
	}
	_ = out.SetReadDeadline(time.Now())
	<-said
	return m.explain(err)
}

// explain adds the end of what the guest and QEMU printed.
func (m *Machine) explain(err error) error {
	for _, name := range []string{"console", "qemu.log"} {
		data, _ := os.ReadFile(m.path(name))
		data = bytes.TrimSpace(data)
		if len(data) > 2000 {
			data = data[len(data)-2000:]
		}
		if len(data) > 0 {
			err = fmt.Errorf("%w\n%s: %s", err, name, data)
		}
	}
	return err
}
