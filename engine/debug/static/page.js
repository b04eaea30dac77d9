// The debug page of Recourse works without this script. It draws the chart, and refreshes
// the page without a reload: the server sends what <main> holds, and what has changed is changed.
'use strict';
(function () {
	var main = document.getElementById('main');
	var live = document.getElementById('live');
	var button = document.getElementById('refresh');
	if (!main) return;

	// morph makes `to` of `from`, and keeps the elements that stay what they are: with the
	// focus, the scrolling and what somebody has typed.
	function morph(from, to) {
		var byId = Object.create(null), stays = Object.create(null), i, old, next;
		for (i = 0; i < to.children.length; i++) stays[to.children[i].id] = true;
		for (i = from.children.length - 1; i >= 0; i--) {
			old = from.children[i];
			if (old.id && !stays[old.id]) from.removeChild(old);
			else if (old.id) byId[old.id] = old;
		}
		var at = from.firstChild;
		for (next = to.firstChild; next; next = next.nextSibling) {
			old = null;
			if (next.nodeType === 1 && next.id) {
				old = byId[next.id] || null;
			} else if (at && at.nodeType === next.nodeType && !(at.nodeType === 1 && (at.id || at.nodeName !== next.nodeName))) {
				old = at;
			}
			if (old && old.nodeName === next.nodeName) {
				if (old !== at) from.insertBefore(old, at); else at = at.nextSibling;
				if (old.nodeType !== 1) {
					if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
				} else {
					attributes(old, next);
					if (!old.classList.contains('plot')) morph(old, next);
				}
			} else {
				from.insertBefore(document.importNode(next, true), at);
			}
		}
		while (at) {
			next = at.nextSibling;
			from.removeChild(at);
			at = next;
		}
	}

	function attributes(old, next) {
		var i, a, typed = /^(INPUT|SELECT|OPTION)$/.test(old.nodeName) && old.type !== 'hidden';
		if (typed) return; // somebody may be typing there
		for (i = old.attributes.length - 1; i >= 0; i--) {
			a = old.attributes[i];
			if (!next.hasAttribute(a.name)) old.removeAttribute(a.name);
		}
		for (i = 0; i < next.attributes.length; i++) {
			a = next.attributes[i];
			if (old.getAttribute(a.name) !== a.value) old.setAttribute(a.name, a.value);
		}
	}

	function refreshed(html) {
		var focused = document.activeElement, around = focused && focused.closest('.scroll, section, main');
		var doc = new DOMParser().parseFromString('<main>' + html + '</main>', 'text/html');
		morph(main, doc.querySelector('main'));
		// An element that was moved has lost the focus; of one that is gone, what was around it gets it.
		if (focused && focused !== document.activeElement && around) {
			var to = main.contains(focused) ? focused : main.contains(around) ? around : main;
			to.focus({preventScroll: true});
		}
		draw();
		tell();
	}

	// What a screen reader hears: a summary, when it has changed, and not more often than every ten seconds.
	var told = '', toldAt = 0;
	function tell() {
		var text = count('held') + ' held, ' + count('waiting') + ' waiting';
		var now = Date.now();
		if (text !== told && now - toldAt > 10000) {
			told = text;
			toldAt = now;
			say(text, false);
		}
	}
	// say tells a screen reader something, and others where they do not see it anyway.
	function say(text, shown) {
		live.textContent = text;
		live.classList.toggle('hidden', !shown);
	}
	function count(name) {
		var e = document.getElementById('count-' + name);
		return e ? e.textContent : '0';
	}

	// The chart.
	var plot = null, drawn = '';
	var dashes = [[], [6, 3], [2, 2], [8, 2, 2, 2], [10, 4], [4, 4]];
	function draw(anew) {
		var figure = document.getElementById('waits-chart'), place = document.getElementById('waits-plot');
		if (!figure || !place || !window.uPlot) return;
		var text = figure.getAttribute('data-chart');
		if (text === drawn && !anew) return;
		drawn = text;
		var chart = JSON.parse(text), style = getComputedStyle(document.documentElement);
		var color = function (name) { return style.getPropertyValue('--' + name).trim(); };
		var n = 60, x = [], i;
		for (i = 0; i < n; i++) x.push(chart.from + i * chart.step);
		var data = [x].concat(chart.series.map(function (s) { return s.points; }));
		var shape = chart.series.map(function (s) { return s.line + s.name; }).join('\n');
		if (plot && !anew && plot.shape === shape) {
			plot.setData(data);
			return;
		}
		if (plot) plot.destroy();
		place.textContent = '';
		var axis = {stroke: color('soft'), grid: {stroke: color('line'), width: 1}, ticks: {stroke: color('line'), width: 1}, font: '12px system-ui, sans-serif'};
		plot = new uPlot({
			width: place.clientWidth, height: place.clientHeight, cursor: {drag: {x: false, y: false}}, legend: {show: false},
			tzDate: function (t) { return uPlot.tzDate(new Date(t * 1000), 'Etc/UTC'); },
			scales: {y: {range: function (u, min, max) { return [0, Math.max(1, Math.ceil(max * 1.1))]; }}},
			axes: [Object.assign({values: function (u, at) {
				return at.map(function (t) { return new Date(t * 1000).toISOString().slice(11, 16); });
			}, space: 70, incrs: [60, 120]}, axis), Object.assign({size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000]}, axis)],
			series: [{}].concat(chart.series.map(function (s) {
				return {label: s.name, stroke: color(s.line), width: 2, dash: dashes[s.line.slice(1)], points: {show: false}};
			}))
		}, data, place);
		plot.shape = shape;
		plot.root.setAttribute('aria-hidden', 'true'); // its place says what it is
	}
	draw();
	if (main.dataset.stream) tell();
	matchMedia('(prefers-color-scheme: dark)').addEventListener('change', function () { draw(true); });
	var place = document.getElementById('waits-plot');
	if (place && window.ResizeObserver) {
		new ResizeObserver(function () {
			if (plot && plot.width !== place.clientWidth) plot.setSize({width: place.clientWidth, height: place.clientHeight});
		}).observe(place);
	}

	// The stream of refreshes.
	var source = null, stopped = false;
	function open() {
		if (source || stopped || document.hidden || !main.dataset.stream) return;
		source = new EventSource(main.dataset.stream);
		source.addEventListener('page', function (e) { refreshed(JSON.parse(e.data)); });
		source.addEventListener('closed', function () { stopped = true; close(); say('The engine was closed.', true); button.hidden = true; });
		source.onerror = function () {
			if (source && source.readyState === 2) {
				say('Not refreshed: too many pages are, or the process has ended.', true);
				close();
			}
		};
	}
	function close() {
		if (source) source.close();
		source = null;
	}
	if (main.dataset.stream && window.EventSource) {
		button.hidden = false;
		button.addEventListener('click', function () {
			stopped = !stopped;
			button.setAttribute('aria-pressed', String(stopped));
			if (stopped) close(); else open();
		});
		document.addEventListener('visibilitychange', function () { if (document.hidden) close(); else open(); });
		open();
	}
})();
