package metrics

import "runtime"

// series is one family of figures.
type series struct {
	name    string
	counter bool
	help    string
}

// The series of instances, in the order in which they are shown.
var (
	cpuSeconds       = &series{"lxd_cpu_seconds_total", true, "CPU time used, in seconds"}
	cpuEffective     = &series{"lxd_cpu_effective_total", false, "CPUs that the instance may use"}
	diskReadBytes    = &series{"lxd_disk_read_bytes_total", true, "Bytes read from a block device"}
	diskReads        = &series{"lxd_disk_reads_completed_total", true, "Reads from a block device"}
	diskWrittenBytes = &series{"lxd_disk_written_bytes_total", true, "Bytes written to a block device"}
	diskWrites       = &series{"lxd_disk_writes_completed_total", true, "Writes to a block device"}
	fsAvail          = &series{"lxd_filesystem_avail_bytes", false, "Bytes that users of the file system can still write"}
	fsFree           = &series{"lxd_filesystem_free_bytes", false, "Bytes of the file system that are not in use"}
	fsSize           = &series{"lxd_filesystem_size_bytes", false, "Size of the file system in bytes"}
	activeAnon       = &series{"lxd_memory_Active_anon_bytes", false, "Anonymous memory in active use"}
	activeFile       = &series{"lxd_memory_Active_file_bytes", false, "Cached files in active use"}
	active           = &series{"lxd_memory_Active_bytes", false, "Memory in active use"}
	cached           = &series{"lxd_memory_Cached_bytes", false, "Cached files"}
	dirty            = &series{"lxd_memory_Dirty_bytes", false, "Memory that is to be written to disk"}
	inactiveAnon     = &series{"lxd_memory_Inactive_anon_bytes", false, "Anonymous memory that has not been used for a while"}
	inactiveFile     = &series{"lxd_memory_Inactive_file_bytes", false, "Cached files that have not been used for a while"}
	inactive         = &series{"lxd_memory_Inactive_bytes", false, "Memory that has not been used for a while"}
	mapped           = &series{"lxd_memory_Mapped_bytes", false, "Files mapped into memory"}
	memAvailable     = &series{"lxd_memory_MemAvailable_bytes", false, "Memory that can be had without swapping"}
	memFree          = &series{"lxd_memory_MemFree_bytes", false, "Memory that is not in use"}
	memTotal         = &series{"lxd_memory_MemTotal_bytes", false, "Memory that the instance can have: its limit, or the host's"}
	oomKills         = &series{"lxd_memory_OOM_kills_total", true, "Processes ended for want of memory"}
	rss              = &series{"lxd_memory_RSS_bytes", false, "Anonymous memory"}
	shmem            = &series{"lxd_memory_Shmem_bytes", false, "Shared memory and files in tmpfs"}
	swap             = &series{"lxd_memory_Swap_bytes", false, "Memory that is swapped out"}
	unevictable      = &series{"lxd_memory_Unevictable_bytes", false, "Memory that cannot be taken away"}
	writeback        = &series{"lxd_memory_Writeback_bytes", false, "Memory that is being written to disk"}
	receivedBytes    = &series{"lxd_network_receive_bytes_total", true, "Bytes that an interface has received"}
	receiveDrops     = &series{"lxd_network_receive_drop_total", true, "Received packets that an interface has dropped"}
	receiveErrors    = &series{"lxd_network_receive_errs_total", true, "Errors of an interface in receiving"}
	receivedPackets  = &series{"lxd_network_receive_packets_total", true, "Packets that an interface has received"}
	sentBytes        = &series{"lxd_network_transmit_bytes_total", true, "Bytes that an interface has sent"}
	sendDrops        = &series{"lxd_network_transmit_drop_total", true, "Packets to send that an interface has dropped"}
	sendErrors       = &series{"lxd_network_transmit_errs_total", true, "Errors of an interface in sending"}
	sentPackets      = &series{"lxd_network_transmit_packets_total", true, "Packets that an interface has sent"}
	processes        = &series{"lxd_procs_total", false, "Processes and threads"}
	instancesTotal   = &series{"lxd_instances", false, "Instances, running or not"}
)

// The series of the daemon itself.
var (
	requestsOngoing   = &series{"lxd_api_requests_ongoing", false, "Calls of the API that are being answered"}
	requestsCompleted = &series{"lxd_api_requests_completed_total", true, "Calls of the API that were answered"}
	operationsTotal   = &series{"lxd_operations_total", false, "Operations that run"}
	warningsTotal     = &series{"lxd_warnings_total", false, "Warnings that are not acknowledged"}
	uptime            = &series{"lxd_uptime_seconds", false, "Seconds since the daemon's start"}
	goroutines        = &series{"lxd_go_goroutines", false, "Goroutines of the daemon"}
)

// goFigures are what the Go runtime tells of the daemon's memory.
var goFigures = []struct {
	series *series
	of     func(*runtime.MemStats) uint64
}{
	{&series{"lxd_go_alloc_bytes_total", true, "Bytes allocated since the start"}, func(m *runtime.MemStats) uint64 { return m.TotalAlloc }},
	{&series{"lxd_go_alloc_bytes", false, "Bytes allocated and in use"}, func(m *runtime.MemStats) uint64 { return m.Alloc }},
	{&series{"lxd_go_buck_hash_sys_bytes", false, "Bytes of the profiling table"}, func(m *runtime.MemStats) uint64 { return m.BuckHashSys }},
	{&series{"lxd_go_frees_total", true, "Objects freed"}, func(m *runtime.MemStats) uint64 { return m.Frees }},
	{&series{"lxd_go_gc_sys_bytes", false, "Bytes of the garbage collector's own data"}, func(m *runtime.MemStats) uint64 { return m.GCSys }},
	{&series{"lxd_go_heap_alloc_bytes", false, "Bytes of heap objects"}, func(m *runtime.MemStats) uint64 { return m.HeapAlloc }},
	{&series{"lxd_go_heap_idle_bytes", false, "Bytes of the heap waiting to be used"}, func(m *runtime.MemStats) uint64 { return m.HeapIdle }},
	{&series{"lxd_go_heap_inuse_bytes", false, "Bytes of the heap in use"}, func(m *runtime.MemStats) uint64 { return m.HeapInuse }},
	{&series{"lxd_go_heap_objects", false, "Objects on the heap"}, func(m *runtime.MemStats) uint64 { return m.HeapObjects }},
	{&series{"lxd_go_heap_released_bytes", false, "Bytes of the heap given back to the kernel"}, func(m *runtime.MemStats) uint64 { return m.HeapReleased }},
	{&series{"lxd_go_heap_sys_bytes", false, "Bytes of the heap obtained from the kernel"}, func(m *runtime.MemStats) uint64 { return m.HeapSys }},
	{&series{"lxd_go_lookups_total", true, "Pointer lookups"}, func(m *runtime.MemStats) uint64 { return m.Lookups }},
	{&series{"lxd_go_mallocs_total", true, "Objects allocated"}, func(m *runtime.MemStats) uint64 { return m.Mallocs }},
	{&series{"lxd_go_mcache_inuse_bytes", false, "Bytes of mcache structures in use"}, func(m *runtime.MemStats) uint64 { return m.MCacheInuse }},
	{&series{"lxd_go_mcache_sys_bytes", false, "Bytes obtained for mcache structures"}, func(m *runtime.MemStats) uint64 { return m.MCacheSys }},
	{&series{"lxd_go_mspan_inuse_bytes", false, "Bytes of mspan structures in use"}, func(m *runtime.MemStats) uint64 { return m.MSpanInuse }},
	{&series{"lxd_go_mspan_sys_bytes", false, "Bytes obtained for mspan structures"}, func(m *runtime.MemStats) uint64 { return m.MSpanSys }},
	{&series{"lxd_go_next_gc_bytes", false, "Size of the heap at which garbage is collected next"}, func(m *runtime.MemStats) uint64 { return m.NextGC }},
	{&series{"lxd_go_other_sys_bytes", false, "Bytes obtained for other things"}, func(m *runtime.MemStats) uint64 { return m.OtherSys }},
	{&series{"lxd_go_stack_inuse_bytes", false, "Bytes of stacks in use"}, func(m *runtime.MemStats) uint64 { return m.StackInuse }},
	{&series{"lxd_go_stack_sys_bytes", false, "Bytes obtained for stacks"}, func(m *runtime.MemStats) uint64 { return m.StackSys }},
	{&series{"lxd_go_sys_bytes", false, "Bytes obtained from the kernel"}, func(m *runtime.MemStats) uint64 { return m.Sys }},
}
