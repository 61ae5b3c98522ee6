"""What the articles of the crawl are about: a lexicon per topic, which the sentences of `prose` draw from."""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """The words of one topic; every field but the first two holds plural nouns or phrases to choose from."""

    craft: str
    role: str
    things: tuple[str, ...]
    parts: tuple[str, ...]
    tools: tuple[str, ...]
    materials: tuple[str, ...]
    tasks: tuple[str, ...]
    spots: tuple[str, ...]


def _topic(craft: str, role: str, things: str, parts: str, tools: str, materials: str, tasks: str, spots: str) -> Topic:
    rows = (things, parts, tools, materials, tasks, spots)
    return Topic(craft, role, *(tuple(row.split(", ")) for row in rows))


TOPICS: tuple[Topic, ...] = (
    _topic(
        "beekeeping", "beekeeper",
        "hives, swarms, combs, queens, colonies, honey jars", "frames, brood cells, lids, entrances, wax caps",
        "smokers, hive tools, veils, brushes, feeders", "honey, wax, pollen, clover nectar, sugar syrup",
        "checking the frames, moving a swarm, straining the honey, feeding the colony, mending a broken box",
        "the orchard, a sunny bank, the old apiary, the heath, the clover field",
    ),
    _topic(
        "bread baking", "baker",
        "loaves, rolls, buns, flat cakes, rye breads, plaits", "crusts, crumbs, seams, scored tops, soft middles",
        "tins, peels, scrapers, proving baskets, stone ovens", "rye flour, yeast, sour dough, sea salt, warm milk",
        "kneading the dough, proving the loaves, lighting the oven, weighing the flour, shaping rolls by hand",
        "the bakery, a village kitchen, the market stall, the back room, the mill shop",
    ),
    _topic(
        "bridge building", "engineer",
        "bridges, arches, piers, towers, footways, spans", "girders, bearings, cables, joints, railings",
        "cranes, jacks, plumb lines, drills, survey poles", "granite, steel, oak beams, mortar, concrete",
        "raising an arch, driving the piles, tightening a cable, testing the deck, drawing the plans",
        "the river crossing, a narrow gorge, the north bank, the railway yard, the harbour road",
    ),
    _topic(
        "sailing", "sailor",
        "boats, dinghies, ketches, ferries, rafts, fishing smacks", "masts, keels, rudders, sails, anchors",
        "compasses, charts, winches, lanterns, sounding lines", "rope, canvas, tar, varnish, cedar planks",
        "hoisting the sail, reading the chart, mending a net, steering by the stars, coiling the ropes",
        "the harbour, a sheltered bay, the river mouth, the open sea, the old slipway",
    ),
    _topic(
        "gardening", "gardener",
        "beans, tulips, cabbages, roses, seedlings, apple trees", "roots, buds, leaves, stems, seed heads",
        "spades, rakes, hoes, watering cans, cold frames", "compost, leaf mould, straw, bone meal, river sand",
        "sowing the beans, pruning the roses, turning the compost, watering the beds, tying up the peas",
        "the walled garden, a raised bed, the greenhouse, the south border, the allotment",
    ),
    _topic(
        "clock making", "clockmaker",
        "clocks, watches, chimes, sundials, tower clocks, alarm bells", "springs, wheels, hands, pendulums, dials",
        "tweezers, files, loupes, small lathes, oil pens", "brass, fine oil, ruby, hardened steel, enamel",
        "winding the spring, setting the hands, polishing a wheel, timing the swing, fitting a new dial",
        "the workshop, the church tower, a quiet attic, the repair bench, the town museum",
    ),
    _topic(
        "wool and weaving", "weaver",
        "blankets, scarves, rugs, shawls, tapestries, jumpers", "threads, hems, fringes, borders, knots",
        "looms, spindles, shuttles, carding combs, dye pots", "wool, flax, madder root, indigo, goat hair",
        "spinning the yarn, dyeing the cloth, setting up the loom, carding fleece, counting the threads",
        "the weaving shed, an upstairs room, the wool fair, the drying green, the guild house",
    ),
    _topic(
        "glass blowing", "glass blower",
        "bowls, vases, lamps, bottles, beads, window panes", "rims, necks, stems, bubbles, handles",
        "blowpipes, tongs, moulds, furnaces, marvers", "quartz sand, soda, lime, cobalt, crushed glass",
        "turning the pipe, cooling a bowl, stoking the furnace, pulling a thread of glass, cutting the rim",
        "the glassworks, a hot workshop, the cooling room, the island foundry, the craft school",
    ),
    _topic(
        "map making", "surveyor",
        "maps, atlases, charts, globes, plans, hill sketches", "contours, keys, scales, borders, grid lines",
        "theodolites, pens, measuring chains, rulers, drones", "ink, vellum, tracing paper, copper plates, wash",
        "measuring a field, drawing the coast, naming the hills, checking the scale, walking the boundary",
        "the moor, a high ridge, the drawing office, the coast path, the county archive",
    ),
    _topic(
        "weather watching", "observer",
        "storms, fogs, frosts, rainbows, heat waves, showers", "fronts, cloud tops, gusts, hailstones, wind shifts",
        "barometers, rain gauges, weather vanes, thermometers, balloons", "mercury, ice, dry air, sea mist, dust",
        "reading the gauge, noting the wind, sending up a balloon, sketching the clouds, comparing the records",
        "the hill station, the lighthouse, an open field, the school roof, the airfield",
    ),
    _topic(
        "star gazing", "astronomer",
        "comets, planets, eclipses, meteors, galaxies, double stars", "tails, rings, craters, spectra, orbits",
        "telescopes, star charts, cameras, mirrors, tripods", "silvered glass, red light, film, dew, cold air",
        "grinding a mirror, timing an eclipse, finding a comet, charting the planets, waiting for a clear sky",
        "the observatory, a dark hillside, the garden shed, the roof terrace, the desert camp",
    ),
    _topic(
        "railways", "driver",
        "trains, engines, wagons, signals, tunnels, branch lines", "boilers, axles, couplings, sleepers, points",
        "shovels, gauges, oil cans, flags, lamps", "coal, ballast, grease, copper pipe, hot water",
        "firing the boiler, setting the points, oiling the axles, coupling the wagons, walking the track",
        "the engine shed, a country halt, the goods yard, the signal box, the long viaduct",
    ),
    _topic(
        "libraries", "librarian",
        "books, letters, catalogues, newspapers, picture books, diaries", "spines, pages, margins, bindings, labels",
        "card drawers, ladders, trolleys, stamps, book presses", "paper, linen thread, glue, leather, ink",
        "shelving the returns, mending a spine, reading to children, labelling the boxes, copying a letter",
        "the reading room, the book van, a quiet corner, the town library, the cellar archive",
    ),
    _topic(
        "cheese making", "dairy worker",
        "cheeses, curds, wheels, soft cheeses, butter pats, yoghurts", "rinds, holes, veins, crusts, centres",
        "vats, presses, ladles, cheese cloths, curd knives", "ewe's milk, rennet, brine, cream, ash",
        "stirring the vat, cutting the curd, salting a wheel, turning the cheeses, washing the rinds",
        "the dairy, a cool cellar, the mountain hut, the farm shop, the tasting room",
    ),
    _topic(
        "pottery", "potter",
        "pots, jugs, tiles, plates, teapots, oil lamps", "spouts, glazes, feet, handles, lips",
        "wheels, kilns, ribs, wires, sponges", "red clay, slip, wood ash, feldspar, stoneware",
        "wedging the clay, throwing a jug, firing the kiln, mixing a glaze, trimming the foot",
        "the pottery, a lean-to shed, the clay pit, the kiln yard, the evening class",
    ),
    _topic(
        "forestry", "forester",
        "oaks, larches, beeches, saplings, clearings, old pines", "rings, branches, trunks, cones, bark beetles",
        "saws, wedges, axes, winches, marking tags", "timber, resin, bark, sawdust, leaf litter",
        "thinning the larches, planting saplings, stacking the logs, marking a tree, clearing the path",
        "the north wood, a steep slope, the nursery, the sawmill, the ranger's hut",
    ),
    _topic(
        "cycling", "cyclist",
        "bicycles, tandems, long rides, hill climbs, tours, cargo bikes", "chains, spokes, brakes, saddles, gears",
        "pumps, spanners, tyre levers, repair stands, puncture kits", "rubber, oil, aluminium, bar tape, steel wire",
        "truing a wheel, pumping the tyres, climbing the pass, changing a chain, packing the bags",
        "the coast road, a forest track, the bike shed, the old railway path, the mountain pass",
    ),
    _topic(
        "music", "fiddler",
        "tunes, waltzes, songs, flutes, drums, concertos", "strings, bows, reeds, bridges, choruses",
        "tuning forks, music stands, metronomes, mutes, pitch pipes", "spruce, rosin, gut, ebony, horsehair",
        "tuning the strings, learning a waltz, copying the parts, rehearsing the finale, teaching beginners",
        "the village hall, a small stage, the practice room, the bandstand, the old chapel",
    ),
    _topic(
        "fishing", "angler",
        "trout, herring, eels, mackerel, crabs, salmon", "fins, scales, gills, shells, tails",
        "rods, reels, hooks, floats, landing nets", "bait, silk line, feathers, lead, cork",
        "tying a fly, casting the line, smoking the catch, mending the nets, reading the water",
        "the weir, a mountain lake, the harbour wall, the mill stream, the shingle beach",
    ),
    _topic(
        "computing", "programmer",
        "programs, servers, databases, networks, web pages, log files", "loops, queues, caches, tests, indexes",
        "editors, debuggers, compilers, keyboards, profilers", "memory, bandwidth, storage, test data, silicon",
        "writing a test, tracing a fault, merging a change, measuring the delay, naming the variables",
        "the server room, an open office, the data centre, the lab, the back end",
    ),
)  # fmt: skip
