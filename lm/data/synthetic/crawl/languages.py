"""Pages in other languages than English: sentences of subject, verb, object, place and time, with the world's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lm.data.synthetic.crawl.prose import Slots, capital
from lm.data.synthetic.grammar import Cast


class _Grammar(NamedTuple):
    frames: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]


def _grammar(frames: str, **words: str) -> _Grammar:
    return _Grammar(tuple(frames.strip().split("\n")), {slot: tuple(row.split(", ")) for slot, row in words.items()})


_GRAMMARS: Mapping[str, _Grammar] = {
    "de": _grammar(
        """
{who} {does} {when} {what} {where}.
{when} {does} {who} {what}, weil es in {place} sonst niemand macht.
{person} sagt, dass {who} {where} schon lange bekannt ist.
Früher gab es {where} keine Schule, aber heute {does} dort {who} {what}.
Wer {when} nach {place} kommt, sieht sofort, wie {who} arbeitet.
Es ist nicht leicht, das zu verstehen, meint {who}, doch {person} hat Geduld.
{who} und {person} treffen sich {when} {where} und sprechen über das Wetter.
Nach der Arbeit geht {who} gern {where} spazieren, auch wenn es regnet.
Die Leute in {place} wissen, dass {person} {when} zu Hause bleibt.
Am Ende {does} {who} {what}, und {person} freut sich darüber.
""",
        who="der Bäcker, die Lehrerin, der alte Müller, die junge Ärztin, der Nachbar, meine Tante, der Fischer, "
        "die Köchin, der Gärtner, die Bürgermeisterin",
        does="verkauft, sucht, bringt, findet, repariert, malt, zeigt, beschreibt, prüft, verschenkt",
        when="am Morgen, jeden Abend, im Sommer, nach dem Frühstück, seit Jahren, heute, am Wochenende, im März",
        what="frisches Brot, einen alten Stuhl, die schönsten Blumen, ein großes Bild, warme Mäntel, drei Bücher, "
        "das kleine Boot, süße Äpfel, den neuen Plan, eine Lampe aus Glas",
        where="auf dem Markt, in der Küche, am Fluss, vor dem Rathaus, hinter der Mühle, im Garten, an der Brücke",
    ),
    "fr": _grammar(
        """
{who} {does} {what} {where} {when}.
{when}, {who} {does} {what}, parce que personne ne le fait à {place}.
{person} dit que {who} est très connu {where}.
Autrefois il n'y avait pas d'école à {place}, mais aujourd'hui {who} y {does} {what}.
Ceux qui viennent {when} à {place} voient tout de suite comment {who} travaille.
Ce n'est pas facile à comprendre, pense {who}, mais {person} a de la patience.
{who} et {person} se retrouvent {where} et parlent du temps qu'il fait.
Après le travail, {who} aime se promener {where}, même quand il pleut.
Les gens de {place} savent que {person} reste chez soi {when}.
À la fin, {who} {does} {what}, et {person} en est heureux.
""",
        who="le boulanger, la maîtresse, le vieux meunier, la jeune médecin, le voisin, ma tante, le pêcheur, "
        "la cuisinière, le jardinier, le maire du village",
        does="vend, cherche, apporte, trouve, répare, peint, montre, décrit, choisit, garde",
        when="le matin, chaque soir, en été, après le déjeuner, depuis des années, aujourd'hui, le dimanche",
        what="du pain frais, une vieille chaise, les plus belles fleurs, un grand tableau, des manteaux chauds, "
        "trois livres, le petit bateau, des pommes sucrées, la nouvelle carte, une lampe en verre",
        where="au marché, dans la cuisine, près de la rivière, devant la mairie, derrière le moulin, dans le jardin",
    ),
    "es": _grammar(
        """
{who} {does} {what} {where} {when}.
{when} {who} {does} {what}, porque nadie más lo hace en {place}.
{person} dice que {who} es muy conocido {where}.
Antes no había escuela en {place}, pero hoy {who} {does} allí {what}.
Quien llega a {place} {when} ve enseguida cómo trabaja {who}.
No es fácil de entender, piensa {who}, pero {person} tiene paciencia.
{who} y {person} se encuentran {where} y hablan del tiempo.
Después del trabajo, a {who} le gusta pasear {where}, aunque llueva.
La gente de {place} sabe que {person} se queda en casa {when}.
Al final {who} {does} {what}, y {person} se alegra mucho.
""",
        who="el panadero, la maestra, el viejo molinero, la joven médica, el vecino, mi tía, el pescador, la cocinera, "
        "el jardinero, la alcaldesa",
        does="vende, busca, trae, encuentra, repara, pinta, muestra, describe, elige, guarda",
        when="por la mañana, cada noche, en verano, después del desayuno, desde hace años, hoy, el domingo, en otoño",
        what="pan fresco, una silla vieja, las flores más bonitas, un cuadro grande, abrigos de lana, tres libros, "
        "el barco pequeño, manzanas dulces, el mapa nuevo, una lámpara de vidrio",
        where="en el mercado, en la cocina, junto al río, delante del ayuntamiento, detrás del molino, en el jardín",
    ),
    "it": _grammar(
        """
{who} {does} {what} {where} {when}.
{when} {who} {does} {what}, perché a {place} non lo fa nessun altro.
{person} dice che {who} lavora {where} da molto tempo.
Una volta a {place} non c'era la scuola, ma oggi {who} {does} {what}.
Chi arriva a {place} {when} vede subito come lavora {who}.
Non è facile da capire, pensa {who}, però {person} ha pazienza.
{who} e {person} si incontrano {where} e parlano del tempo.
Dopo il lavoro {who} ama passeggiare {where}, anche quando piove.
La gente di {place} sa che {person} resta a casa {when}.
Alla fine {who} {does} {what}, e {person} è molto contento.
""",
        who="il fornaio, la maestra, il vecchio mugnaio, la giovane dottoressa, il vicino, mia zia, il pescatore, "
        "la cuoca, il giardiniere, la sindaca",
        does="vende, cerca, porta, trova, ripara, dipinge, mostra, descrive, sceglie, conserva",
        when="la mattina, ogni sera, d'estate, dopo la colazione, da anni, oggi, la domenica, in primavera",
        what="il pane fresco, una vecchia sedia, i fiori più belli, un grande quadro, cappotti di lana, tre libri, "
        "la piccola barca, mele dolci, la nuova mappa, una lampada di vetro",
        where="al mercato, in cucina, vicino al fiume, davanti al municipio, dietro il mulino, nel giardino",
    ),
    "ru": _grammar(
        """
{when} {who} {does} {what} {where}.
{who} {does} {what}, потому что в этом городе больше никто этого не делает.
Сосед говорит, что {who} давно работает {where}.
Раньше здесь не было школы, а теперь {who} {does} {what}.
Кто приедет сюда, сразу увидит, как {who} работает {where}.
Это нелегко понять, думает {who}, но терпения хватает.
{when} люди собираются {where} и говорят о погоде.
После работы {who} любит гулять {where}, даже если идёт дождь.
Все знают, что {when} {who} остаётся дома и читает.
В конце концов {who} {does} {what}, и все очень рады.
""",
        who="пекарь, учительница, старый мельник, молодая врач, рыбак, повариха, садовник, моя тётя, почтальон, столяр",
        does="продаёт, ищет, приносит, находит, чинит, рисует, показывает, описывает, выбирает, хранит",
        when="утром, каждый вечер, летом, после завтрака, сегодня, в воскресенье, весной, много лет подряд",
        what="свежий хлеб, старый стул, красивые цветы, большую картину, тёплые пальто, три книги, маленькую лодку, "
        "сладкие яблоки, новую карту, лампу из стекла",
        where="на рынке, на кухне, у реки, перед ратушей, за мельницей, в саду, возле моста",
    ),
}
LANGUAGES: tuple[str, ...] = tuple(_GRAMMARS)
"""Language codes (ISO 639-1) of the pages that are not in English."""


def paragraphs(cast: Cast, language: str) -> list[str]:
    """Returns two to four paragraphs of three to six sentences each."""
    grammar = _GRAMMARS[language]
    slots = Slots(cast, grammar.words)
    return [
        " ".join(capital(slots.fill(cast.one(grammar.frames))) for _ in range(cast.number(3, 6)))
        for _ in range(cast.number(2, 4))
    ]
