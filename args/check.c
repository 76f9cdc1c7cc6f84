/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is a string, a key, a time, an integer: the same for what is encoded, set and parsed. */
#include "config.h"

#include "args/tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- strings --- */

/* How many bytes a character has by its first one, and the bits that are in that; 0: none begins
 * so. */
static size_t
character_begin(uint8_t byte, uint32_t *ret_bits)
{
	size_t n = byte < 0x80	 ? 1
		   : byte < 0xc0 ? 0
		   : byte < 0xe0 ? 2
		   : byte < 0xf0 ? 3
		   : byte < 0xf8 ? 4
				 : 0;

	*ret_bits = n <= 1 ? byte : byte & (0x7fu >> n);
	return n;
}

/* The character at P. Returns: its bytes; 0 when it is none. */
static size_t
character_take(const uint8_t *p, size_t n_left, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = character_begin(p[0], ret);

	if (n == 0 || n > n_left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*ret = *ret << 6 | (p[i] & 0x3f);
	}
	if (*ret < least[n] || *ret > 0x10ffff || (*ret >= 0xd800 && *ret < 0xe000))
		return 0;
	return n;
}

/* Keys come into labels and on terminals: no control characters, of neither set. */
static int
characters_check(const void *data, size_t n, bool control)
{
	const uint8_t *p = data;

	while (n > 0) {
		uint32_t c;
		size_t n_bytes = character_take(p, n, &c);

		if (n_bytes == 0 || (!control && (c < 0x20 || (c >= 0x7f && c < 0xa0))))
			return -EILSEQ;
		p += n_bytes;
		n -= n_bytes;
	}
	return 0;
}

int
utf8_check(const void *data, size_t n)
{
	return characters_check(data, n, true);
}

int
args_key_check(const char *key, size_t n)
{
	return n == 0 || n > CAPC_ARGS_KEY_MAX ? -EILSEQ : characters_check(key, n, false);
}

/* --- times --- */

#define DAY_SEC INT64_C(86400)
#define TIME_SEC_MIN INT64_C(-62167219200) /* 0000-01-01T00:00:00Z */
#define TIME_SEC_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

bool
time_is_valid(const struct capc_time *time)
{
	return time->sec >= TIME_SEC_MIN && time->sec <= TIME_SEC_MAX && time->nsec < 1000000000;
}

/* Days from 1970-01-01; years begin in March, so that a leap day is the last one. */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t era, of_era, of_year;

	year -= month <= 2;
	era = (year >= 0 ? year : year - 399) / 400;
	of_era = year - era * 400;
	of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void
date_of(int64_t days, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day)
{
	int64_t era, of_era, year, of_year, month;

	days += 719468;
	era = (days >= 0 ? days : days - 146096) / 146097;
	of_era = days - era * 146097;
	year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year + year / 4 - year / 100);
	month = (5 * of_year + 2) / 153;
	*ret_day = of_year - (153 * month + 2) / 5 + 1;
	*ret_month = month < 10 ? month + 3 : month - 9;
	*ret_year = year + era * 400 + (*ret_month <= 2);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* N digits at *P, and C behind them unless that is NUL. */
static bool
take(const char **p, const char *end, int n, char c, int64_t *ret)
{
	*ret = 0;
	for (; n > 0; n--, (*p)++) {
		if (*p == end || !is_digit(**p))
			return false;
		*ret = *ret * 10 + (**p - '0');
	}
	return c == '\0' || (*p < end && *(*p)++ == c);
}

static bool
take_day(const char **p, const char *end, int64_t *ret_sec)
{
	static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t year, month, day, last;

	if (!take(p, end, 4, '-', &year) || !take(p, end, 2, '-', &month) ||
		!take(p, end, 2, '\0', &day) || month < 1 || month > 12)
		return false;
	last = days[month - 1] +
	       (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
	*ret_sec = days_of(year, month, day) * DAY_SEC;
	return day >= 1 && day <= last;
}

/* ".5", 1 to 9 digits; or nothing. */
static bool
take_fraction(const char **p, const char *end, uint32_t *ret_nsec)
{
	uint32_t nsec = 0;
	int n = 0;

	*ret_nsec = 0;
	if (*p == end || **p != '.')
		return true;
	for (++*p; *p < end && is_digit(**p) && n < 9; ++*p, n++)
		nsec = nsec * 10 + (uint32_t)(**p - '0');
	if (n == 0 || (*p < end && is_digit(**p)))
		return false;
	for (; n < 9; n++)
		nsec *= 10;
	*ret_nsec = nsec;
	return true;
}

/* "Z" or "+01:00", which are to be subtracted. */
static bool
take_zone(const char **p, const char *end, int64_t *ret_sec)
{
	int64_t hours, minutes;
	char sign;

	*ret_sec = 0;
	if (*p == end)
		return false;
	sign = *(*p)++;
	if (sign == 'Z' || sign == 'z')
		return true;
	if ((sign != '+' && sign != '-') || !take(p, end, 2, ':', &hours) ||
		!take(p, end, 2, '\0', &minutes) || hours > 23 || minutes > 59)
		return false;
	*ret_sec = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
	return true;
}

int
time_parse(const char *s, size_t n, struct capc_time *ret)
{
	const char *end = s + n;
	int64_t day, hour, minute, second, zone;
	struct capc_time time;

	if (!take_day(&s, end, &day) || s == end || (*s != 'T' && *s != 't'))
		return -EINVAL;
	s++;
	/* A leap second has no number of its own. */
	if (!take(&s, end, 2, ':', &hour) || !take(&s, end, 2, ':', &minute) ||
		!take(&s, end, 2, '\0', &second) || hour > 23 || minute > 59 || second > 59 ||
		!take_fraction(&s, end, &time.nsec) || !take_zone(&s, end, &zone) || s != end)
		return -EINVAL;
	time.sec = day + (hour * 60 + minute) * 60 + second - zone;
	if (!time_is_valid(&time))
		return -EINVAL;
	*ret = time;
	return 0;
}

int
time_parse_day(const char *s, size_t n, struct capc_time *ret)
{
	const char *end = s + n;
	struct capc_time time = {};

	if (!take_day(&s, end, &time.sec) || s != end)
		return -EINVAL;
	*ret = time;
	return 0;
}

void
time_format(const struct capc_time *time, char ret[TIME_TEXT_MAX])
{
	int64_t second = time->sec % DAY_SEC, days = time->sec / DAY_SEC, year, month, day;
	int n;

	if (second < 0) {
		second += DAY_SEC;
		days--;
	}
	date_of(days, &year, &month, &day);
	n = snprintf(ret, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%09u", (int)year,
		(int)month, (int)day, (int)(second / 3600), (int)(second / 60 % 60),
		(int)(second % 60), time->nsec);
	while (ret[n - 1] == '0' && time->nsec > 0)
		n--;
	if (time->nsec == 0)
		n -= 10;
	strcpy(ret + n, "Z");
}

/* --- integers --- */

int
big_normalize(const struct capc_big *big, struct capc_value *ret)
{
	struct capc_big b = *big;
	uint64_t n = 0;

	while (b.n > 0 && b.data[0] == 0) {
		b.data++;
		b.n--;
	}
	if (b.n > CAPC_ARGS_BIG_MAX)
		return -EINVAL;
	if (b.n > 8 || (b.n == 8 && b.data[0] >= 0x80)) {
		*ret = (struct capc_value){.type = CAPC_BIG, .big = b};
		return 0;
	}
	for (size_t i = 0; i < b.n; i++)
		n = n << 8 | b.data[i];
	*ret = (struct capc_value){
		.type = CAPC_INT, .integer = b.negative ? -1 - (int64_t)n : (int64_t)n};
	return 0;
}
