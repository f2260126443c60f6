/*
 * bare_multi.c
 *	  The limit: what libcurl itself can do with the extension's options.
 *
 * POSTs the same body again and again, so many at once, over kept-alive
 * connections: curl_multi_socket_action on an epoll set, easy handles reused,
 * the options of src/http.c.  No table, no limiter, no signal masks.
 *
 *	  bare_multi URL CA_FILE CALLS IN_FLIGHT
 *
 * prints one line of JSON: calls, failed, seconds, cpu_seconds, kilobytes.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#define EVENTS_AT_ONCE	64
#define TARGET	"/v4/group_open_http_svc/import_group?sdkappid=1400000000&identifier=administrator" \
				"&usersig=%s&random=%u&contenttype=json"

/* As long as a row of the benchmark makes it. */
static const char body[] =
	"{\"Type\":\"Public\",\"Name\":\"group 123456\",\"GroupId\":\"im-abcdefghijklmnopqrstuvwxyz\","
	"\"Owner_Account\":\"user456\",\"Introduction\":\"introduction of the group, some words of it\","
	"\"Notification\":\"a notice\",\"CreateTime\":1795343883}";

typedef struct Call
{
	CURL	   *easy;
	size_t		read_at;
	size_t		reply_len;
	size_t		header_bytes;
	char		reply[65536 + 1];
	char		error[CURL_ERROR_SIZE];
} Call;

static CURLM *multi;
static int	epoll_fd;
static double timer_at = -1;
static const char *base_url;
static char usersig[257];
static long to_start;
static long done;
static long failed;
static int	running;

/* Seconds of the monotonic clock. */
static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + t.tv_nsec / 1e9;
}

/* Callback: hands the body out. */
static size_t
read_body(char *buffer, size_t size, size_t nitems, void *arg)
{
	Call	   *call = arg;
	size_t		n = sizeof(body) - 1 - call->read_at;

	if (n > size * nitems)
		n = size * nitems;
	memcpy(buffer, body + call->read_at, n);
	call->read_at += n;
	return n;
}

/* Callback: refuses to rewind, as the extension does. */
static int
refuse_seek(void *arg, curl_off_t offset, int origin)
{
	(void) arg;
	(void) offset;
	(void) origin;
	return CURL_SEEKFUNC_FAIL;
}

/* Callback: keeps the answer. */
static size_t
write_reply(char *data, size_t size, size_t nmemb, void *arg)
{
	Call	   *call = arg;
	size_t		n = size * nmemb;

	if (n > sizeof(call->reply) - 1 - call->reply_len)
		return 0;
	memcpy(call->reply + call->reply_len, data, n);
	call->reply_len += n;
	return n;
}

/* Callback: counts headers. */
static size_t
count_header(char *data, size_t size, size_t nmemb, void *arg)
{
	(void) data;
	((Call *) arg)->header_bytes += size * nmemb;
	return size * nmemb;
}

/* Callback: libcurl wants to watch a socket, otherwise, or no more. */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct epoll_event event = {.data.fd = fd};

	(void) easy;
	(void) arg;
	(void) socket_arg;
	if (what == CURL_POLL_REMOVE)
		return epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event), 0;
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -1;
}

/* Callback: libcurl wants to run again after so many milliseconds. */
static int
set_timer(CURLM *m, long ms, void *arg)
{
	(void) m;
	(void) arg;
	timer_at = ms < 0 ? -1 : now() + ms / 1e3;
	return 0;
}

/* Starts the next call on a handle. */
static void
start(Call *call)
{
	char		target[1024];

	snprintf(target, sizeof(target), TARGET, usersig, (unsigned) random());
	call->read_at = call->reply_len = call->header_bytes = 0;
	curl_easy_setopt(call->easy, CURLOPT_REQUEST_TARGET, target);
	curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) sizeof(body) - 1);
	curl_multi_add_handle(multi, call->easy);
	to_start--;
	running++;
}

/* Makes a handle with the extension's options. */
static Call *
make_call(struct curl_slist *headers, const char *ca_file)
{
	Call	   *call = calloc(1, sizeof(Call));
	CURL	   *easy = call->easy = curl_easy_init();

	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_URL, base_url);
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_body);
	curl_easy_setopt(easy, CURLOPT_READDATA, call);
	curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, refuse_seek);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write_reply);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, count_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 10000L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 4096L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
	return call;
}

/* Takes what is finished, and starts the next on the same handle. */
static void
collect(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		Call	   *call;
		long		status = 0;
		bool		ok = message->data.result == CURLE_OK;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &call);
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
		curl_multi_remove_handle(multi, call->easy);
		running--;
		done++;
		call->reply[call->reply_len] = '\0';
		if (!ok || status != 200 || strstr(call->reply, "\"ErrorCode\":0") == NULL)
		{
			if (failed++ == 0)
				fprintf(stderr, "bare_multi: status %ld, %s\n", status, call->error);
		}
		if (to_start > 0)
			start(call);
	}
}

/* One wait, and all that libcurl does upon it. */
static void
turn(void)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	double		wait = timer_at < 0 ? 1 : timer_at - now();
	int			still;
	int			n;

	n = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, wait <= 0 ? 0 : (int) (wait * 1e3) + 1);
	for (int i = 0; i < n; i++)
	{
		int			what = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
			(events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			(events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);

		curl_multi_socket_action(multi, events[i].data.fd, what, &still);
	}
	if (timer_at >= 0 && now() >= timer_at)
	{
		timer_at = -1;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &still);
	}
	collect();
}

int
main(int argc, char **argv)
{
	struct curl_slist *headers;
	struct rusage usage;
	double		began;
	double		seconds;
	int			in_flight;

	if (argc != 5)
		return fprintf(stderr, "usage: bare_multi URL CA_FILE CALLS IN_FLIGHT\n"), 2;
	base_url = argv[1];
	to_start = atol(argv[3]);
	in_flight = atoi(argv[4]);
	memset(usersig, 'x', sizeof(usersig) - 1);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	multi = curl_multi_init();
	headers = curl_slist_append(NULL, "Content-Type: application/json; charset=utf-8");
	headers = curl_slist_append(headers, "Expect:");
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) in_flight);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long) CURLPIPE_NOTHING);

	began = now();
	for (int i = 0; i < in_flight && to_start > 0; i++)
		start(make_call(headers, argv[2]));
	while (running > 0)
		turn();
	seconds = now() - began;
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"calls\": %ld, \"failed\": %ld, \"seconds\": %.4f, \"cpu_seconds\": %.4f, \"kilobytes\": %ld}\n",
		   done, failed, seconds,
		   usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
		   (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6, usage.ru_maxrss);
	return failed > 0;
}
